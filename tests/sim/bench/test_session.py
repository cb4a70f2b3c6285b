"""A benchmark from its parts to the result directory."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from farsight.errors import InvalidField
from sim.bench.matrix import Part
from sim.bench.runner import RunCell
from sim.bench.session import run_bench
from sim.cells import ResultStore
from sim.run_cell import run_cell
from tests.sim.bench.in_threads import done, done_but_load, threads

PART = Part(
    workload="chat",
    policies=("random", "load"),
    rates=(4.0,),
    pods=2,
    seeds=1,
    settings={"duration_s": 3},
)
REPORT = "report.html"


def run(out: Path, part: Part = PART, run_one: RunCell = done) -> tuple[int, str]:
    """The exit code and what was printed."""
    shown = Console(file=io.StringIO(), width=120)
    code = run_bench([part], out, shown, summary=out / "s.json", run=run_one, workers=threads)
    assert isinstance(shown.file, io.StringIO)
    return code, shown.file.getvalue()


def test_cells_are_simulated_and_reported(tmp_path: Path) -> None:
    """Lines, a table, one file for each cell, the report and the summary."""
    code, shown = run(tmp_path, run_one=run_cell)

    results = ResultStore(tmp_path).read_all().results
    policies = json.loads((tmp_path / "s.json").read_text())["sections"][0]["policies"]
    assert code == 0
    assert {result.key.policy for result in results} == {"random", "load"}
    assert all(result.overall.requests > 0 for result in results)
    assert policies.keys() == {"random", "load"}
    assert "1/2 chat random 4/s seed 1" in shown
    assert f"Report: {tmp_path / REPORT}" in shown
    assert "<svg" in (tmp_path / REPORT).read_text()


def test_finished_cells_are_skipped(tmp_path: Path) -> None:
    """And said so; a cell more is run alone."""
    run(tmp_path, PART.model_copy(update={"policies": ("random",)}))
    (tmp_path / REPORT).unlink()

    code, shown = run(tmp_path)
    again = run(tmp_path)

    assert code == 0
    assert f"1 of 2 cells are finished already, in {tmp_path}" in shown.replace("\n", "")
    assert "1/1 chat load" in shown
    assert "chat random 4/s" not in shown
    assert "2 of 2 cells are finished already" in again[1]
    assert (tmp_path / REPORT).exists()


def test_a_failure_is_told_and_tried_again(tmp_path: Path) -> None:
    """Exit code 1, and the finished cell stays."""
    code, shown = run(tmp_path, run_one=done_but_load)
    repaired, _ = run(tmp_path)

    assert (code, repaired) == (1, 0)
    assert "chat load 4/s seed 1 failed: ValueError: a bad day" in shown
    assert "1 of 2 cells failed" in shown
    assert f"Report: {tmp_path / REPORT}" in shown
    assert ResultStore(tmp_path).read_all().failures == ()


def test_nothing_runs_when_something_is_wrong(tmp_path: Path) -> None:
    """Not even the cells before the bad one; no directory is made."""
    out = tmp_path / "out"

    with pytest.raises(InvalidField, match="policy"):
        run(out, PART.model_copy(update={"policies": ("random", "nosuch")}))

    assert not out.exists()
