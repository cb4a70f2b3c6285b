"""The plots of a section as one SVG; equal sections give equal bytes."""

from collections.abc import Mapping
from dataclasses import replace

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.typing import RcKeyType

from sim.report.inline_svg import inline_svg
from sim.report.palette import Look
from sim.report.panels import PANELS, draw_dots, draw_lines
from sim.report.sections import Section

_COLUMNS = 3
_ROWS = 2
_WIDTH_IN = 13.6
_LEGEND_COLUMNS = 5
_INK, _FAINT = "#333333", "#dddddd"
_STYLE: dict[RcKeyType, object] = {
    "svg.fonttype": "path",
    "svg.hashsalt": "farsight",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eeeeee",
    "xtick.color": _INK,
    "ytick.color": _INK,
    "lines.linewidth": 1.7,
    "lines.markersize": 4.5,
}


def section_svg(section: Section, looks: Mapping[str, Look], name: str) -> str:
    """The plots of a section that has loads; `name` tells them from other sections' plots."""
    by_name = replace(section, runs=tuple(sorted(section.runs, key=lambda run: run.policy)))
    with rc_context(_STYLE):
        ladder = len(section.loads) > 1
        figure = _ladder(by_name, looks) if ladder else _single_load(by_name, looks)
        return inline_svg(figure, name, f"Plots of {section.title}")


def _ladder(section: Section, looks: Mapping[str, Look]) -> Figure:
    legend_rows = -(-len(section.runs) // _LEGEND_COLUMNS)
    figure = _empty(6.2 + 0.24 * legend_rows)
    plots = figure.subplots(_ROWS, _COLUMNS).flat
    for panel, plot in zip(PANELS, plots, strict=True):
        draw_lines(plot, panel, section, looks)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        *(handles, labels), loc="outside upper left", ncols=_LEGEND_COLUMNS, frameon=False
    )
    return figure


def _single_load(section: Section, looks: Mapping[str, Look]) -> Figure:
    figure = _empty(1.6 + 0.42 * len(section.runs))
    plots = figure.subplots(_ROWS, _COLUMNS, sharey=True).flat
    for panel, plot in zip(PANELS, plots, strict=True):
        draw_dots(plot, panel, section, looks)
    return figure


def _empty(height_in: float) -> Figure:
    spaced = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08)
    return Figure(figsize=(_WIDTH_IN, height_in), layout=spaced)
