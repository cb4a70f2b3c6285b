"""One cell: from its key to its figures."""

import asyncio
import gc
import resource
import time

import numpy as np

from farsight.errors import InvalidField
from sim.cell_settings import CellSettings
from sim.cells import CellKey, CellResult, Cost
from sim.offered import Offered
from sim.policy import load_policy
from sim.simulation import Setup, Simulation
from sim.workload import Knobs, load_workload


def prepare(key: CellKey) -> tuple[Setup, Offered]:
    """Everything that a cell needs, checked; nothing runs yet.

    :raises InvalidField: an unknown workload, policy or setting, or a bad trace.
    """
    settings = CellSettings.parse(dict(key.settings))
    workload = load_workload(key.workload)
    specs, storage = settings.make_fleet(workload.fleet.hardware, key.pods)
    environment = settings.make_environment()
    if bad := [f.pod for f in environment.faults if not 0 <= f.pod < key.pods]:
        raise InvalidField("setting faults", f"pods 0 to {key.pods - 1}, not {bad}")
    setup = Setup(
        specs,
        storage,
        load_policy(key.policy),
        environment,
        key.seed,
        slo_ttft_ms=settings.slo_ttft_ms,
        slo_tpot_ms=settings.slo_tpot_ms,
    )
    knobs = Knobs(
        pods=key.pods,
        rate_per_s=key.rate,
        concurrency=key.concurrency,
        duration_s=settings.duration_s,
        trace=settings.trace,
        scale=settings.scale,
    )
    return setup, workload.offered(knobs, np.random.default_rng(key.seed))


def run_cell(key: CellKey) -> CellResult:
    """Simulate.

    :raises InvalidField: see `prepare`.
    """
    setup, offered = prepare(key)
    simulation = Simulation(setup, offered)
    # As in the router's process: full passes of the collector need not look at what stays.
    gc.collect()
    gc.freeze()
    started = time.perf_counter()
    outcome = asyncio.run(simulation.run())
    wall_s = time.perf_counter() - started
    peak_rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return CellResult(
        key,
        outcome.overall,
        outcome.stages,
        outcome.virtual_s,
        outcome.decisions,
        Cost(wall_s, peak_rss_mb),
    )
