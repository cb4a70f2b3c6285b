"""Which cells can be compared: a section holds those that differ by policy, load and seed only."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from sim.cells import CellKey, CellResult
from sim.figures import Figures

ORACLE = "oracle"

FiguresBySeed = dict[int, list[Figures]]


class Axis(Enum):
    """What grows along a section's ladder; the value says it to people."""

    STAGES = "offered requests/s, in stages"
    RATE = "offered requests/s"
    CONCURRENCY = "concurrent sessions"


@dataclass(frozen=True, slots=True)
class Run:
    """All cells of one policy in a section."""

    policy: str
    cells: tuple[CellResult, ...]
    has_gaps: bool
    """Another policy of the section has a load and seed that this one lacks."""


@dataclass(frozen=True, slots=True)
class Section:
    """Cells that can be compared."""

    workload: str
    pods: int
    settings: tuple[tuple[str, str], ...]
    axis: Axis
    runs: tuple[Run, ...]
    """By TTFT p90, the lowest first."""

    @property
    def title(self) -> str:
        """What all cells have in common."""
        chosen = [f"{name}={value}" for name, value in self.settings]
        return ", ".join([f"{self.workload}, {self.pods} pods", *chosen])

    @property
    def seeds(self) -> tuple[int, ...]:
        """Every seed of any policy."""
        return tuple(sorted({cell.key.seed for run in self.runs for cell in run.cells}))

    @property
    def loads(self) -> tuple[float, ...]:
        """Every load of any policy."""
        cells = (cell for run in self.runs for cell in run.cells)
        return tuple(sorted({load for cell in cells for load, _ in _steps(cell)}))

    def run_of(self, policy: str) -> Run | None:
        """The run of a policy, if there is one."""
        return next((run for run in self.runs if run.policy == policy), None)


def sections_of(results: Iterable[CellResult]) -> tuple[Section, ...]:
    """The sections of some cells, by title."""
    groups: dict[tuple[str, int, tuple[tuple[str, str], ...], Axis], list[CellResult]]
    groups = defaultdict(list)
    for cell in results:
        key = cell.key
        groups[key.workload, key.pods, key.settings, _axis(key)].append(cell)
    sections = (Section(*group, runs=_runs(cells)) for group, cells in groups.items())
    return tuple(sorted(sections, key=lambda section: (section.title, section.axis.value)))


def overall_by_seed(run: Run) -> FiguresBySeed:
    """Figures of the whole ladder: one for a seed's stages, several for its cells."""
    found: FiguresBySeed = defaultdict(list)
    for cell in run.cells:
        found[cell.key.seed].append(cell.overall)
    return found


def figures_at(run: Run, load: float) -> FiguresBySeed:
    """Figures at one load; several of a seed when its stages come back to the load."""
    found: FiguresBySeed = defaultdict(list)
    for cell in run.cells:
        for step, figures in _steps(cell):
            if step == load:
                found[cell.key.seed].append(figures)
    return found


def _axis(key: CellKey) -> Axis:
    if key.concurrency is not None:
        return Axis.CONCURRENCY
    return Axis.STAGES if key.rate is None else Axis.RATE


def _steps(cell: CellResult) -> list[tuple[float, Figures]]:
    """Loads and their figures; a closed loop's stages offer no rate and are no steps."""
    load = cell.key.rate if cell.key.concurrency is None else float(cell.key.concurrency)
    if load is not None:
        return [(load, cell.overall)]
    return [(s.offered_per_s, s.figures) for s in cell.stages if s.offered_per_s]


def _runs(cells: Sequence[CellResult]) -> tuple[Run, ...]:
    by_policy: dict[str, list[CellResult]] = defaultdict(list)
    for cell in cells:
        by_policy[cell.key.policy].append(cell)
    every = _places(cells)
    runs = (
        Run(policy, tuple(sorted(own, key=lambda cell: cell.key.stem)), _places(own) < every)
        for policy, own in by_policy.items()
    )
    return tuple(sorted(runs, key=lambda run: (_ttft_p90_s(run), run.policy)))


def _places(cells: Iterable[CellResult]) -> set[tuple[int, float | int | None]]:
    return {(cell.key.seed, cell.key.rate or cell.key.concurrency) for cell in cells}


def _ttft_p90_s(run: Run) -> float:
    known = [p90 for cell in run.cells if (p90 := cell.overall.ttft.p90_s) is not None]
    return sum(known) / len(known) if known else float("inf")
