"""Decisions that are made at the same time see each other."""

import asyncio
import time
from collections import Counter

import pytest

from services.router.route import RequestRouter
from tests.services.router.given import (
    ScriptedIndex,
    ScriptedPredictor,
    call,
    parts,
    record,
    tokens,
)
from tests.waiting import eventually


@pytest.mark.parametrize("profile", ["predicted", "affinity-token-load"])
async def test_a_burst_of_cold_requests_is_spread(profile: str) -> None:
    """Each decision sees the reservations of all before it, though all forecasts are of t = 0."""
    predictor = ScriptedPredictor(gate=asyncio.Event())
    made = parts(*(record(f"e{i}") for i in range(8)), predictor=predictor, profile=profile)
    router = RequestRouter(made)
    burst = [
        asyncio.create_task(router.route(call(tokens(2000, i)), time.perf_counter()))
        for i in range(200)
    ]
    await eventually(lambda: predictor.waiting == 200)

    assert predictor.gate is not None
    predictor.gate.set()
    chosen = Counter(d.opened.endpoint_ids[0] for d in await asyncio.gather(*burst))

    assert sum(chosen.values()) == 200
    assert max(chosen.values()) / (200 / 8) <= 1.2
    assert router.decisions == 200


async def test_a_burst_of_equal_requests_goes_where_the_first_one_went() -> None:
    """Its blocks are expected there at once, though all forecasts are of a cold fleet."""
    predictor = ScriptedPredictor(gate=asyncio.Event())
    made = parts(
        *(record(f"e{i}") for i in range(8)), predictor=predictor, profile="affinity-token-load"
    )
    router = RequestRouter(made)
    burst = [asyncio.create_task(router.route(call(), 0)) for _ in range(20)]
    await eventually(lambda: predictor.waiting == 20)

    assert predictor.gate is not None
    predictor.gate.set()
    decisions = [decision.opened for decision in await asyncio.gather(*burst)]

    assert len({opened.endpoint_ids[0] for opened in decisions}) == 1
    assert [opened.cached_tokens[0] for opened in decisions] == [0, *[1984] * 19]
    assert {opened.indexed_tokens[0] for opened in decisions} == {0}
    (in_flight,) = made.reservations.in_flight(decisions[0].endpoint_ids[:1]).prefill_tokens
    assert in_flight == 2000 + 19 * 16


async def test_a_burst_with_a_warm_endpoint_prefers_it_until_it_is_busy() -> None:
    """A cached prefix draws requests, and the load that they make drives the rest away."""
    index = ScriptedIndex({"e0": (120, 0, 0), "e1": (0, 0, 0), "e2": (0, 0, 0)})
    made = parts(*(record(f"e{i}") for i in range(3)), index=index)
    router = RequestRouter(made)

    chosen = [(await router.route(call(), 0)).opened.endpoint_ids[0] for _ in range(300)]

    assert chosen[0] == "e0"
    assert Counter(chosen)["e0"] > 100
    assert len(set(chosen)) > 1
