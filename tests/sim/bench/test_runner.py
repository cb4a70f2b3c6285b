"""What becomes of cells that fail, and of the others."""

from pathlib import Path

import pytest
from rich.console import Console

from sim.bench.processes import processes
from sim.bench.progress import LineProgress
from sim.bench.runner import Runner
from sim.cells import CellKey, ResultStore
from tests.sim.bench.in_threads import done_but_load, done_but_load_dies, threads

KEYS = [
    CellKey("chat", policy, 2, 4.0, None, seed)
    for seed in (1, 2)
    for policy in ("random", "load", "round-robin")
]


def quiet() -> LineProgress:
    """Progress that nobody sees."""
    return LineProgress(Console(quiet=True), len(KEYS))


@pytest.mark.parametrize("jobs", [1, 2, 20])
def test_a_cell_that_fails_costs_no_other(tmp_path: Path, jobs: int) -> None:
    """It is kept with its error, the others with their figures."""
    store = ResultStore(tmp_path)

    failed = Runner(store, quiet(), jobs, done_but_load, threads).run(KEYS)

    stored = store.read_all()
    assert failed == 2
    assert {failure.key for failure in stored.failures} == {KEYS[1], KEYS[4]}
    assert {failure.error for failure in stored.failures} == {"ValueError: a bad day"}
    assert {result.key for result in stored.results} == set(KEYS) - {KEYS[1], KEYS[4]}


@pytest.mark.timeout(180)
def test_a_cell_that_kills_its_process_costs_no_other(tmp_path: Path) -> None:
    """Its neighbours run again, itself once more alone."""
    store = ResultStore(tmp_path)

    failed = Runner(store, quiet(), 2, done_but_load_dies, processes).run(KEYS[:4])

    stored = store.read_all()
    assert failed == 1
    assert [failure.key for failure in stored.failures] == [KEYS[1]]
    assert "its process died" in stored.failures[0].error
    assert {result.key for result in stored.results} == {KEYS[0], KEYS[2], KEYS[3]}
