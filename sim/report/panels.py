"""One plot: a line per policy along a ladder with the interval over seeds as a band, or, at a
single load, a dot per policy with the interval as a bar.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from sim.intervals import Interval
from sim.report.columns import (
    CACHED,
    GOODPUT,
    NTPOT_P50,
    OUTPUT_RATE,
    TTFT_P50,
    TTFT_P90,
    FigureColumn,
)
from sim.report.palette import Look
from sim.report.sections import Run, Section, figures_at
from sim.report.summary import over_seeds

_PLAIN = FuncFormatter(lambda value, _: f"{value:,.6g}")


@dataclass(frozen=True, slots=True)
class Panel:
    """What a plot shows."""

    title: str
    figure: FigureColumn
    is_log: bool = False


PANELS = (
    Panel("TTFT p50 (s)", TTFT_P50, is_log=True),
    Panel("TTFT p90 (s)", TTFT_P90, is_log=True),
    Panel("Output tokens/s", OUTPUT_RATE),
    Panel("Cached share of prompt tokens (%)", CACHED),
    Panel("Goodput (requests/s within SLO)", GOODPUT),
    Panel("NTPOT p50 (ms a token)", NTPOT_P50, is_log=True),
)


def draw_lines(plot: Axes, panel: Panel, section: Section, looks: Mapping[str, Look]) -> None:
    """Every policy against the load."""
    seen: list[Interval] = []
    for run in section.runs:
        look = looks[run.policy]
        points = _points(run, section, panel)
        loads, intervals = list(points), list(points.values())
        means = [point.mean for point in intervals]
        plot.plot(
            *(loads, means),
            label=run.policy,
            color=look.colour,
            linestyle=look.line,
            marker=look.marker,
        )
        lows = [_low(point, panel) for point in intervals]
        highs = [point.high for point in intervals]
        plot.fill_between(loads, lows, highs, color=look.colour, alpha=0.1, linewidth=0)
        seen += intervals
    plot.set_title(panel.title)
    plot.set_xlabel(section.axis.value)
    _scale(plot, "y", seen, panel)


def draw_dots(plot: Axes, panel: Panel, section: Section, looks: Mapping[str, Look]) -> None:
    """Every policy at the only load."""
    seen: list[Interval] = []
    for place, run in enumerate(section.runs):
        look = looks[run.policy]
        for point in _points(run, section, panel).values():
            plot.errorbar(
                *(point.mean, place),
                xerr=[[point.mean - _low(point, panel)], [point.high - point.mean]],
                color=look.colour,
                marker=look.marker,
                markersize=7,
                capsize=3,
            )
            seen.append(point)
    plot.set_title(panel.title)
    plot.set_yticks(range(len(section.runs)), [run.policy for run in section.runs])
    plot.set_ylim(len(section.runs) - 0.5, -0.5)
    plot.grid(visible=False, axis="y")
    _scale(plot, "x", seen, panel)


def _points(run: Run, section: Section, panel: Panel) -> dict[float, Interval]:
    """What is known, by load; a log axis has no place for a mean of 0."""
    found = {load: over_seeds(figures_at(run, load), panel.figure.value) for load in section.loads}
    return {
        load: point
        for load, point in found.items()
        if point and (point.mean > 0 or not panel.is_log)
    }


def _low(point: Interval, panel: Panel) -> float:
    """The lower end, kept above zero where the axis has no zero."""
    return max(point.low, 0.01 * point.mean) if panel.is_log else point.low


def _scale(plot: Axes, which: Literal["x", "y"], seen: Sequence[Interval], panel: Panel) -> None:
    """From zero, or on a log axis as far as the means go: a wide band may be cut there."""
    axis = plot.xaxis if which == "x" else plot.yaxis
    set_limits = plot.set_xlim if which == "x" else plot.set_ylim
    means = [point.mean for point in seen]
    if means and panel.is_log:
        (plot.set_xscale if which == "x" else plot.set_yscale)("log")
        low, high = min(means) / 1.6, max(means) * 1.6
        set_limits(low, high)
        axis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 300 else (1.0, 2.0, 5.0)))
        axis.set_minor_locator(NullLocator())
    else:
        set_limits(0.0, 1.06 * max((point.high for point in seen), default=0.0) or 1.0)
        axis.set_major_locator(MaxNLocator(5))  # long numbers still fit side by side
    axis.set_major_formatter(_PLAIN)
