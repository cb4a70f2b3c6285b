"""Cells from their keys: equal keys give equal bytes, bad ones stop before anything runs."""

import asyncio
import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import msgspec
import pytest

from farsight.errors import InvalidField
from sim.cells import CellKey, CellResult, deterministic_bytes
from sim.run_cell import prepare, run_cell
from sim.simulation import Simulation

# Enough requests for a bundle, on pods that are not what the analytic rates are for.
TRAINED = CellKey(
    "chat",
    "predicted",
    2,
    12.0,
    None,
    1,
    (("duration_s", "40"), ("faults", "slow:1:5:20:3"), ("hardware", "h100-1"), ("routers", "2")),
)
PLAIN = CellKey("low-sharing", "random", 3, 4.0, None, 1, (("duration_s", "10"),))
IN_ANOTHER_PROCESS = """
import hashlib, sys, msgspec
from sim.cells import CellKey, deterministic_bytes
from sim.run_cell import run_cell
key = msgspec.json.decode(sys.argv[1], type=CellKey)
print(hashlib.sha256(deterministic_bytes(run_cell(key))).hexdigest())
"""


def digest(result: CellResult) -> str:
    """Of all that the seed decides."""
    return hashlib.sha256(deterministic_bytes(result)).hexdigest()


def test_equal_keys_give_equal_bytes_and_other_seeds_do_not() -> None:
    """Also when a trainer is in the loop."""
    for key in (PLAIN, TRAINED):
        other = run_cell(replace(key, seed=2))
        one, again = run_cell(key), run_cell(key)

        assert deterministic_bytes(one) == deterministic_bytes(again)
        assert replace(other, key=key, cost=one.cost) != one


def test_the_trainer_was_in_the_loop() -> None:
    """The cell whose bytes are compared has had a bundle."""
    outcome = asyncio.run(Simulation(*prepare(TRAINED)).run())

    assert outcome.bundle_version >= 1


@pytest.mark.timeout(120)
def test_another_process_gives_the_same_bytes() -> None:
    """Whatever its hash seed is."""
    told = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, msgspec.json.encode(TRAINED).decode()],
        env=os.environ | {"PYTHONHASHSEED": "4242"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert told.stdout.strip() == digest(run_cell(TRAINED))


def test_a_result_says_what_the_run_was() -> None:
    """Its key, its stages, and what it took."""
    result = run_cell(PLAIN)

    assert result.key == PLAIN
    assert [stage.offered_per_s for stage in result.stages] == [4.0]
    assert result.overall.requests == result.decisions > 20
    assert result.virtual_s >= result.overall.duration_s > 8
    assert result.cost.wall_s > 0
    assert result.cost.peak_rss_mb > 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"workload": "w"}, "workload"),
        ({"policy": "p"}, "policy"),
        ({"settings": (("colour", "red"),)}, "colour"),
        ({"settings": (("hardware", "abacus"),)}, "hardware"),
        ({"settings": (("hardware", "h100-1*2"),)}, "hardware"),
        ({"settings": (("faults", "die:3:1:1"),)}, "faults"),
        ({"settings": (("trace", "nowhere.jsonl"),)}, "trace"),
        ({"rate": None, "concurrency": 3}, "concurrency"),
        ({"rate": -1.0}, "rate_per_s"),
        ({"pods": 0}, "pods"),
    ],
)
def test_a_bad_key_is_refused_before_anything_runs(changes: dict[str, object], named: str) -> None:
    """By the name of what is wrong with it."""
    with pytest.raises(InvalidField) as refusal:
        prepare(replace(PLAIN, **changes))  # type: ignore[arg-type] # by name

    assert named in refusal.value.field
