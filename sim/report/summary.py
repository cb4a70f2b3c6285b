"""The table of a section: what each policy comes to, over seeds, and which are the best."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sim.intervals import (
    Interval,
    LadderPoint,
    interval,
    knee,
    lowest_ttft_p90_s,
    points_of_cells,
    points_of_stages,
    regret,
)
from sim.report.columns import FIGURE_COLUMNS, REGRET_COLUMNS, Better, Column, Value
from sim.report.sections import (
    ORACLE,
    Axis,
    FiguresBySeed,
    Run,
    Section,
    figures_at,
    overall_by_seed,
)

NOTHING = "–"  # noqa: RUF001 # a dash, as a hyphen looks like a lost sign among figures


@dataclass(frozen=True, slots=True)
class Entry:
    """One figure of one policy."""

    seen: Interval | None
    is_at_least: bool = False
    """The ladder ended before the figure was found."""
    is_best: bool = False
    """Its interval reaches the best policy's; the oracle does not compete."""

    @property
    def mean(self) -> str:
        """The mean, to three digits."""
        if self.seen is None:
            return NOTHING
        return f"{'≥ ' if self.is_at_least else ''}{self.seen.mean:{_format(self.seen.mean)}}"

    @property
    def spread(self) -> str:
        """The half-width to the mean's digits; empty when one seed says nothing of it."""
        if self.seen is None or self.seen.half_width is None:
            return ""
        return f"±{self.seen.half_width:{_format(self.seen.mean)}}"


@dataclass(frozen=True, slots=True)
class Row:
    """One policy."""

    policy: str
    has_gaps: bool
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Policies by figures."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def over_seeds(figures: FiguresBySeed, value: Value) -> Interval | None:
    """The interval over seeds of a seed's mean."""
    by_seed = []
    for of_seed in figures.values():
        known = [seen for one in of_seed if (seen := value(one)) is not None]
        by_seed.append(sum(known) / len(known) if known else None)
    return interval(by_seed)


def summary(section: Section) -> Table:
    """Each policy over the whole ladder, its regret and its knee."""
    columns = (
        *(figure.column for figure in FIGURE_COLUMNS),
        *REGRET_COLUMNS,
        Column("knee", "load", "", Better.HIGH, in_console=True),
    )
    idle_s = _idle_ttft_p90_s(section)
    rows = [
        (*_figures(overall_by_seed(run)), *_regrets(section, run), _knee(section.axis, run, idle_s))
        for run in section.runs
    ]
    return _table(columns, section.runs, rows)


def _idle_ttft_p90_s(section: Section) -> float | None:
    """The best policy's TTFT p90 at the lowest load, which all knees are told from."""
    ladders = (
        [point for points in _ladders(section.axis, run) for point in points]
        for run in section.runs
    )
    return min((s for s in map(lowest_ttft_p90_s, ladders) if s is not None), default=None)


def at_load(section: Section, load: float) -> Table:
    """Each policy at one load."""
    found = [(run, figures_at(run, load)) for run in section.runs]
    seen = [(run, figures) for run, figures in found if figures]
    columns = tuple(figure.column for figure in FIGURE_COLUMNS)
    return _table(columns, [run for run, _ in seen], [_figures(figures) for _, figures in seen])


def _figures(figures: FiguresBySeed) -> tuple[Entry, ...]:
    return tuple(Entry(over_seeds(figures, column.value)) for column in FIGURE_COLUMNS)


def _regrets(section: Section, run: Run) -> tuple[Entry, ...]:
    oracle = section.run_of(ORACLE)
    found = regret(run.cells, oracle.cells if oracle else ())
    return Entry(found.ttft), Entry(found.e2e), Entry(found.ntpot)


def _knee(axis: Axis, run: Run, idle_s: float | None) -> Entry:
    tried = (knee(points, idle_ttft_p90_s=idle_s) for points in _ladders(axis, run))
    knees = [found for found in tried if found is not None]
    return Entry(
        interval(found.load for found in knees),
        is_at_least=any(found.is_end_of_ladder for found in knees),
    )


def _ladders(axis: Axis, run: Run) -> list[list[LadderPoint]]:
    """Of each seed."""
    if axis is Axis.STAGES:
        return [points_of_stages(cell) for cell in run.cells]
    seeds = sorted({cell.key.seed for cell in run.cells})
    return [points_of_cells(c for c in run.cells if c.key.seed == seed) for seed in seeds]


def _table(
    columns: tuple[Column, ...], runs: Sequence[Run], rows: Sequence[tuple[Entry, ...]]
) -> Table:
    competing = [run.policy != ORACLE for run in runs]
    marked = [
        _marked(column, entries, competing)
        for column, entries in zip(columns, zip(*rows, strict=True), strict=True)
    ]
    return Table(
        columns,
        tuple(
            Row(run.policy, run.has_gaps, entries)
            for run, entries in zip(runs, zip(*marked, strict=True), strict=True)
        ),
    )


def _marked(
    column: Column, entries: Sequence[Entry], competing: Sequence[bool]
) -> tuple[Entry, ...]:
    """The entries with the best ones marked, unless all are alike."""
    sign = {Better.HIGH: 1, Better.LOW: -1, Better.NEITHER: 0}[column.better]
    running = [e.seen for e, is_in in zip(entries, competing, strict=True) if is_in and e.seen]
    if not sign or not running:
        return tuple(entries)
    best = max(running, key=lambda seen: sign * seen.mean)
    if all(_reaches(seen, best) for seen in running):
        return tuple(entries)
    return tuple(
        replace(e, is_best=is_in and e.seen is not None and _reaches(e.seen, best))
        for e, is_in in zip(entries, competing, strict=True)
    )


def _reaches(seen: Interval, best: Interval) -> bool:
    return seen.low <= best.high and seen.high >= best.low


def _format(mean: float) -> str:
    size = abs(mean)
    decimals = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 or size == 0 else 3
    return f",.{decimals}f"
