"""`python -m sim.bench.simulator`: what `make bench-simulator` runs.

Speed and memory of the simulator itself, each figure from a fresh process on one core.
"""

import logging
import os
import resource
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
from rich.console import Console

from farsight.cli.output import console
from farsight.cli.tables import fitted, new_table
from sim.bench.processes import processes
from sim.cells import CellKey, CellResult
from sim.run_cell import run_cell
from sim.validation.published import PUBLISHED, run_b2b

FIGURES = Path("build/bench/simulator.json")
REALTIME = CellKey(
    *("b2b-saas", "precise-prefix", 8, 60.0, None), seed=1, settings=(("duration_s", "60"),)
)
LARGE = CellKey(
    *("chat", "precise-prefix", 100, 1000.0, None), seed=1, settings=(("duration_s", "600"),)
)
# Compiles, or loads, every kernel that the measured cells run.
_TINY = CellKey("chat", "precise-prefix", 2, 5.0, None, seed=1, settings=(("duration_s", "2"),))

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Figure:
    """One policy of b2b-saas over its published ladder."""

    output_tokens_per_s: float
    ttft_p90_s: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """What is written."""

    realtime_factor_b2b_8pods_60qps: float
    wall_s_100pods_1000qps_600s: float
    peak_rss_mb: float
    """The highest of all processes."""
    b2b: Mapping[str, Figure]


def main() -> int:
    """Exit code 0 when the figures are written, 130 when it was interrupted."""
    logging.getLogger().addHandler(logging.NullHandler())
    out = console()
    try:
        figures = measure(out)
    except KeyboardInterrupt:
        sys.stderr.write("bench-simulator: interrupted\n")
        return 130
    write(figures, FIGURES)
    show(figures, out)
    out.print(f"Figures: {FIGURES}")
    return 0


def measure(out: Console) -> Figures:
    """All figures; about half an hour."""
    # Processes inherit it, from their first thread on.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    out.print("b2b-saas, 8 pods, 60 requests/s")
    realtime, peak_mb = alone(partial(warmed, REALTIME))
    peaks_mb = [peak_mb]
    out.print("chat, 100 pods, 1,000 requests/s for 600 s")
    large, peak_mb = alone(partial(warmed, LARGE))
    peaks_mb.append(peak_mb)
    b2b = {}
    for policy in PUBLISHED:
        out.print(f"b2b-saas, the published ladder, {policy}")
        outcome, peak_mb = alone(partial(run_b2b, policy))
        peaks_mb.append(peak_mb)
        overall = outcome.overall
        b2b[policy] = Figure(overall.output_tokens_per_s, overall.ttft.p90_s)
    return Figures(realtime.virtual_s / realtime.cost.wall_s, large.cost.wall_s, max(peaks_mb), b2b)


def alone(work: Callable[[], T]) -> tuple[T, float]:
    """What the work returns in a process of its own, and the most memory of that in MB."""
    with processes(1) as pool:
        return pool.submit(_weighed, work).result()


def _weighed(work: Callable[[], T]) -> tuple[T, float]:
    return work(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def warmed(key: CellKey) -> CellResult:
    """The cell after a tiny one."""
    run_cell(_TINY)
    return run_cell(key)


def write(figures: Figures, path: Path) -> None:
    """Write the figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")


def show(figures: Figures, out: Console) -> None:
    """Speed and memory beside what is asked of them, then b2b-saas."""
    speed = new_table(("simulator, on one core", "measured", "target"), ("measured", "target"))
    factor = f"{figures.realtime_factor_b2b_8pods_60qps:,.0f} x real time"
    speed.add_row("b2b-saas, 8 pods, 60 requests/s", factor, ">= 200 x")
    wall_s = f"{figures.wall_s_100pods_1000qps_600s:,.0f} s"
    speed.add_row("chat, 100 pods, 1,000 requests/s, 600 s", wall_s, "<= 900 s")
    speed.add_row("peak memory", f"{figures.peak_rss_mb:,.0f} MB", "<= 4,096 MB")
    headers = ("output tok/s", "published", "TTFT p90, s", "published, s")
    b2b = new_table(("b2b-saas, published ladder", *headers), headers)
    for policy, figure in figures.b2b.items():
        known = PUBLISHED[policy]
        b2b.add_row(
            *(policy, f"{figure.output_tokens_per_s:,.0f}", f"{known.output_tokens_per_s:,.0f}"),
            *(_seconds(figure.ttft_p90_s), _seconds(known.ttft_p90_s)),
        )
    out.print(fitted(speed), fitted(b2b))


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


if __name__ == "__main__":
    raise SystemExit(main())
