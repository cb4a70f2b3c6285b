"""Cells that run in threads, and cells that end in a known way instead of being simulated."""

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

from sim.cells import CellKey, CellResult
from tests.fakes.cell_results import cell


@contextmanager
def threads(count: int) -> Iterator[Executor]:
    """Like `sim.bench.processes.processes`, without the wait for their start."""
    with ThreadPoolExecutor(count) as pool:
        yield pool


def done(key: CellKey) -> CellResult:
    """Every cell is finished at once."""
    return replace(cell(), key=key)


def done_but_load(key: CellKey) -> CellResult:
    """Every cell is finished at once, but those of the policy `load` fail."""
    if key.policy == "load":
        raise ValueError("a bad day")
    return done(key)


def done_but_load_dies(key: CellKey) -> CellResult:
    """Every cell is finished at once, but those of the policy `load` take their process along."""
    if key.policy == "load":
        os._exit(3)
    return done(key)
