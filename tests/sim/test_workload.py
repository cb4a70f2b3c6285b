"""What holds for every workload."""

import tracemalloc
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest

from farsight.errors import InvalidField
from sim.offered import Session
from sim.workload import Knobs, load_workload, workload_names
from tests.sim.workloads.offering import Consumed, consume, offer

NAMES = (
    "azure", "b2b-saas", "chat", "code-generation", "high-sharing", "latency-a", "latency-b",
    "latency-c", "latency-d", "low-sharing", "maas-production", "mooncake", "reasoning",
    "storage-growth", "storage-mixed",
)  # fmt: skip
CLOSED_LOOPS = ("code-generation", "reasoning", "storage-growth")
TRACES = ("azure", "mooncake")


def sessions_of(consumed: Consumed) -> list[Session]:
    """The sessions of all stages."""
    return [session for _, sessions in consumed for session in sessions]


def seeds_of(name: str) -> set[int]:
    """The seeds of all contents of a workload."""
    return {
        piece.seed
        for session in sessions_of(consume(name))
        for piece in (*session.context, *(p for turn in session.turns for p in turn.question))
    }


def test_the_directory_holds_the_workloads_that_are_asked_for() -> None:
    """A name is a file's stem with dashes."""
    assert workload_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_workload_says_what_it_is(name: str) -> None:
    """Name, description, fleet and a rising ladder."""
    workload = load_workload(name)

    assert workload.name == name
    assert workload.description
    assert workload.fleet.pods >= 1
    assert all(low < high for low, high in pairwise(workload.ladder))
    assert workload.ladder_knob in ("rate_per_s", "concurrency")


def test_an_unknown_workload_is_refused_with_the_list_of_what_exists() -> None:
    """The error names the field and every workload."""
    with pytest.raises(InvalidField, match="workload: expected one of azure, b2b-saas, chat, "):
        load_workload("b2b_saas")


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("pods", 0), ("rate_per_s", 0.0), ("rate_per_s", float("nan")), ("concurrency", 0),
        ("duration_s", -1.0), ("scale", float("inf")),
    ],
)  # fmt: skip
def test_a_knob_out_of_bounds_is_refused_by_name(knob: str, value: float) -> None:
    """Before any workload sees it."""
    turned: dict[str, Any] = {"pods": 8, knob: value}

    with pytest.raises(InvalidField, match=f"{knob}: expected a number"):
        Knobs(**turned)


@pytest.mark.parametrize(
    ("name", "knob", "value"),
    [
        *((name, "concurrency", 4) for name in NAMES if load_workload(name).ladder_knob[0] == "r"),
        *((name, "rate_per_s", 4.0) for name in CLOSED_LOOPS),
        *((name, "duration_s", 4.0) for name in CLOSED_LOOPS),
        *((name, "scale", 2.0) for name in NAMES if name not in TRACES),
        *((name, "trace", "t") for name in NAMES if name not in TRACES),
        ("b2b-saas", "duration_s", 4.0),
        *((name, "trace", None) for name in TRACES),
    ],
)
def test_a_knob_that_a_workload_cannot_use_is_refused_by_name(
    name: str, knob: str, value: Any
) -> None:
    """It is refused when the load is asked for, not while it is consumed."""
    turned: dict[str, Any] = {knob: value}

    with pytest.raises(InvalidField) as refused:
        offer(name, **turned)

    assert refused.value.field == knob


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TRACES])
def test_the_knob_of_the_ladder_makes_one_measured_stage(name: str) -> None:
    """So that a driver can climb any ladder."""
    workload = load_workload(name)
    value = workload.ladder[0]
    asked: Any = int(value) if workload.ladder_knob == "concurrency" else value
    consumed = consume(name, **{workload.ladder_knob: asked})

    assert [stage.is_measured for stage, _ in consumed].count(True) == 1
    assert f"{value:g}" in consumed[-1][0].label


@pytest.mark.parametrize("name", NAMES)
def test_sessions_are_whole_and_in_the_order_of_their_first_turn(name: str) -> None:
    """Turns in order, lengths of at least one token, ids unique in a stage."""
    for _, sessions in consume(name):
        firsts = [session.turns[0].at_s for session in sessions]
        assert firsts == sorted(firsts)
        assert len({session.session_id for session in sessions}) == len(sessions) > 0
        for session in sessions:
            times = [turn.at_s for turn in session.turns]
            assert times == sorted(times)
            assert min(turn.output_tokens for turn in session.turns) >= 1
            pieces = [p for turn in session.turns for p in turn.question] + list(session.context)
            assert min(piece.length_tokens for piece in pieces) >= 1
            assert all(0 <= piece.seed < 2**64 for piece in pieces)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_offers_the_same_load(name: str) -> None:
    """Two runs are equal; another seed differs wherever chance has a part."""
    first = sessions_of(consume(name, seed=7))

    assert first == sessions_of(consume(name, seed=7))
    assert (first != sessions_of(consume(name, seed=8))) == (
        name not in ("azure", "storage-growth")
    )


@pytest.mark.parametrize("name", ["b2b-saas", "chat", "latency-c", "storage-mixed"])
def test_a_stage_does_not_depend_on_how_far_others_are_consumed(name: str) -> None:
    """Stages that are not consumed draw nothing from those that are."""
    last = [list(stage.sessions) for stage in list(offer(name).stages)[-1:]]

    assert last == [consume(name)[-1][1]]


def test_no_content_is_shared_between_workloads() -> None:
    """Seeds of different workloads are disjoint."""
    seeds = [seeds_of(name) for name in NAMES]

    assert len(set().union(*seeds)) == sum(len(of_one) for of_one in seeds)


@pytest.mark.parametrize("name", NAMES)
def test_bounds_of_the_client_are_those_published(name: str) -> None:
    """Production bounds its requests, closed loops with a queue of sessions bound these."""
    offered = offer(name)

    assert offered.max_in_flight == (1000 if name == "maas-production" else None)
    assert offered.max_sessions == {"code-generation": 60, "reasoning": 350}.get(name)


def test_six_hundred_thousand_sessions_do_not_sit_in_memory() -> None:
    """Sessions of a stage are made when they are taken."""
    big = offer("b2b-saas", pods=100, rate_per_s=1000.0, duration_s=600.0)

    tracemalloc.start()
    *_, measured = big.stages
    taken = list(islice(measured.sessions, 10))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(taken) == 10
    assert peak_bytes < 64e6


def test_requests_arrive_at_the_rate_that_is_offered() -> None:
    """The number of a stage's arrivals is that of a Poisson process, within five deviations."""
    for name in ("b2b-saas", "chat", "latency-d", "high-sharing"):
        stage, sessions = consume(name, rate_per_s=20.0, duration_s=200.0)[-1]
        times = np.array([turn.at_s for session in sessions for turn in session.turns])

        assert stage.offered_per_s == 20.0
        assert abs(times.size - 4000) < 5 * 4000**0.5
        assert 0 <= times.min() < times.max() < 200
        # A Poisson process has gaps as variable as they are long.
        gaps = np.diff(np.sort(times))
        assert abs(gaps.std() / gaps.mean() - 1) < 0.1
