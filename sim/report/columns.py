"""The figures of a table, each with its unit, how it is read, and where it stands."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from sim.figures import Figures

Value = Callable[[Figures], float | None]


class Better(Enum):
    """Which end of a column is the good one."""

    HIGH = "high"
    LOW = "low"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a table."""

    group: str
    title: str
    unit: str
    better: Better
    in_console: bool = False
    """A terminal has no room for all of them."""


@dataclass(frozen=True, slots=True)
class FigureColumn:
    """One that is read from the figures of a cell or stage."""

    column: Column
    value: Value
    """In the column's unit."""


def _scaled(value: Value, factor: float) -> Value:
    def scaled(figures: Figures) -> float | None:
        known = value(figures)
        return None if known is None else known * factor

    return scaled


_HIGH, _LOW, _NEITHER = Better.HIGH, Better.LOW, Better.NEITHER

OUTPUT_RATE = FigureColumn(
    Column("throughput", "output", "tok/s", _HIGH, in_console=True),
    lambda f: f.output_tokens_per_s,
)
TTFT_P50 = FigureColumn(Column("TTFT", "p50", "s", _LOW, in_console=True), lambda f: f.ttft.p50_s)
TTFT_P90 = FigureColumn(Column("TTFT", "p90", "s", _LOW, in_console=True), lambda f: f.ttft.p90_s)
NTPOT_P50 = FigureColumn(
    Column("NTPOT", "p50", "ms", _LOW, in_console=True), _scaled(lambda f: f.ntpot.p50_s, 1e3)
)
CACHED = FigureColumn(
    Column("cached", "prompt", "%", _NEITHER, in_console=True),
    _scaled(lambda f: f.cached_token_share, 100),
)
GOODPUT = FigureColumn(
    Column("goodput", "in SLO", "/s", _HIGH, in_console=True), lambda f: f.goodput_per_s
)
FIGURE_COLUMNS = (
    OUTPUT_RATE,
    FigureColumn(Column("throughput", "input", "tok/s", _HIGH), lambda f: f.input_tokens_per_s),
    TTFT_P50,
    TTFT_P90,
    FigureColumn(Column("TTFT", "p99", "s", _LOW), lambda f: f.ttft.p99_s),
    FigureColumn(Column("TPOT", "p50", "ms", _LOW), _scaled(lambda f: f.tpot.p50_s, 1e3)),
    FigureColumn(Column("TPOT", "p90", "ms", _LOW), _scaled(lambda f: f.tpot.p90_s, 1e3)),
    FigureColumn(Column("ITL", "p90", "ms", _LOW), _scaled(lambda f: f.itl.p90_s, 1e3)),
    FigureColumn(Column("e2e", "p90", "s", _LOW, in_console=True), lambda f: f.e2e.p90_s),
    NTPOT_P50,
    CACHED,
    GOODPUT,
    FigureColumn(
        Column("success", "share", "%", _HIGH, in_console=True),
        _scaled(lambda f: f.success_share, 100),
    ),
    FigureColumn(Column("waiting", "mean", "requests", _LOW), lambda f: f.waiting_mean),
)
REGRET_COLUMNS = (
    Column("regret", "TTFT", "x oracle", _LOW),
    Column("regret", "e2e", "x oracle", _LOW, in_console=True),
    Column("regret", "NTPOT", "x oracle", _LOW),
)
