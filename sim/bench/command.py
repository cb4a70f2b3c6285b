"""`farsight bench`: which routing is better, on simulated fleets."""

from pathlib import Path

import typer

from farsight.cli.output import console
from sim.bench import options as o

RESULTS = Path("build/bench")


def bench(
    workload: o.Workloads = None,
    policy: o.Policies = None,
    oracle: o.Oracle = True,
    rate: o.Rates = None,
    concurrency: o.Concurrency = None,
    ladder: o.Ladder = False,
    seeds: o.Seeds = None,
    pods: o.Pods = None,
    matrix: o.MatrixFile = None,
    settings: o.Settings = None,
    trace: o.Trace = None,
    scale: o.Scale = None,
    duration: o.DurationS = None,
    slo_ttft_ms: o.SloTtftMs = None,
    slo_tpot_ms: o.SloTpotMs = None,
    out: o.Out = None,
    summary: o.SummaryFile = None,
    jobs: o.Jobs = 1,
    listing: o.Listing = False,
) -> None:
    """Simulate workloads under routing policies and compare them.

    A cell is a workload, a policy, a load and a seed. Its result is kept in the directory as soon
    as it is there, so that the same command goes on after an interruption. At the end stand a
    table and report.html, which opens offline.

    Exit code: 0, 1 when a cell failed, 130 when it was interrupted.
    """
    # Kernels, trees and plots take a second to import, which `farsight --help` does not wait for.
    from sim.bench import listing as lists
    from sim.bench.selection import Selection
    from sim.bench.session import run_bench

    if listing:
        console().print(*lists.listing())
        return
    named = {"trace": trace, "scale": scale, "duration_s": duration}
    named |= {"slo_ttft_ms": slo_ttft_ms, "slo_tpot_ms": slo_tpot_ms}
    loads = (rate, concurrency, ladder)
    asked = Selection(workload, policy, *loads, seeds, pods, oracle, settings, tuple(named.items()))
    parts = asked.parts(matrix)
    where = out or RESULTS / (matrix.stem if matrix else asked.name)
    if exit_code := run_bench(parts, where, console(), jobs, summary):
        raise typer.Exit(exit_code)
