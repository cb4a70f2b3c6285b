"""The decision flow over in-process twins of index and predictor."""

import asyncio
import contextlib
import time
from collections import Counter

import pytest

from farsight.errors import FarsightError, InvalidField, NoEndpoint, UnknownModel
from farsight.pb.events_pb2 import Load
from farsight.pb.router_pb2 import RouteReply
from farsight.pb.types_pb2 import CONFIDENCE_EXACT
from services.router import metrics
from services.router.prompts import RouteCall
from services.router.route import MAX_ALTERNATIVES, Decision, RequestRouter, RouterParts
from services.router.wire import encode_reply
from tests.services.router.given import (
    Clock,
    ScriptedIndex,
    ScriptedPredictor,
    call,
    parts,
    record,
    stored,
    tokens,
)
from tests.waiting import eventually


async def decide(made: RouterParts, wanted: RouteCall | None = None) -> Decision:
    """One decision."""
    return await RequestRouter(made).route(wanted or call(), time.perf_counter())


async def answer(made: RouterParts, wanted: RouteCall | None = None) -> RouteReply:
    """One explained answer."""
    return encode_reply(await decide(made, wanted), True, True)


async def test_the_decision_books_what_it_will_cost() -> None:
    """Uncached tokens, and prompt plus expected output."""
    index = ScriptedIndex({"a": (100, 0, 0)})
    made = parts(record("a"), index=index)

    decision = await decide(made)

    load = made.reservations.in_flight(("a",))
    assert load.requests.tolist() == [1]
    assert load.prefill_tokens.tolist() == [2000 - 1600]
    assert load.context_tokens.tolist() == [2000 + 128]
    assert decision.opened.cached_tokens == (1600,)
    assert decision.opened.bundle_version == 7
    assert made.outcomes.open_decisions == 1


async def test_an_answer_tells_apart_what_only_prompts_on_their_way_stand_for() -> None:
    """The index has not heard of the prompt that was just routed there."""
    made = parts(record("a"), record("b"))

    first, second = await answer(made), await answer(made)

    (holder,) = (c for c in second.candidates if c.endpoint_id == first.endpoint.endpoint_id)
    (other,) = (c for c in second.candidates if c.endpoint_id != first.endpoint.endpoint_id)
    assert [c.speculative_tokens for c in first.candidates] == [0, 0]
    assert (holder.cached_tokens, holder.speculative_tokens) == (1984, 1984)
    assert (other.cached_tokens, other.speculative_tokens) == (0, 0)


async def test_an_answer_explains_every_candidate() -> None:
    """What was known, predicted and scored, and who was dropped by what."""
    index = ScriptedIndex({"a": (60, 10, 5), "b": (0, 0, 0), "c": (0, 0, 0)})
    made = parts(record("a"), record("b"), record("c"), index=index)
    made.fleet.failed("b")
    load = Load(endpoint_id="a", running_requests=2)
    made.fleet.on_load("s", load.SerializeToString())
    made.reservations.reserve("other", "c", 50_000, 51_000, 60)

    reply = await answer(made)

    assert reply.endpoint.endpoint_id == "a"
    assert reply.endpoint.url == "http://a:8000"
    assert (reply.prompt_tokens, reply.cached_tokens) == (2000, 1200)
    assert (reply.confidence, reply.bundle_version) == (CONFIDENCE_EXACT, 7)
    assert (reply.profile, list(reply.fallbacks)) == ("predicted", [])
    assert reply.picker_reason.startswith("one of 1 ")
    assert reply.predicted.ttft.q90_ms > reply.predicted.ttft.q50_ms > 0
    assert reply.decision_ms > 0
    assert reply.token_ids == tokens(2000).tobytes()
    first, second, dropped = reply.candidates
    assert [c.endpoint_id for c in reply.candidates] == ["a", "c", "b"]
    assert (first.device_tokens, first.host_tokens, first.storage_tokens) == (960, 160, 80)
    assert (first.load_age_ms, second.load_age_ms) == (0, 2**32 - 1)
    assert (second.in_flight_requests, second.in_flight_prefill_tokens) == (1, 50_000)
    assert first.scores == {"slo-attainment": 1.0, "marginal-cost": 1.0}
    assert first.total_score == 11
    assert 10 < second.total_score < first.total_score
    assert (dropped.filtered_by, dropped.total_score, dict(dropped.scores)) == ("available", 0, {})
    assert first.filtered_by == ""


async def test_without_explain_an_answer_is_small() -> None:
    """No candidates and no ids."""
    reply = encode_reply(await decide(parts(record("a"))), False, False)

    assert not reply.candidates
    assert not reply.token_ids
    assert not reply.alternatives


async def test_alternatives_come_best_first_and_dropped_ones_last() -> None:
    """The order in which a client should try them."""
    made = parts(*(record(e) for e in "abcd"))
    for endpoint, ahead in {"a": 9000, "b": 100, "c": 4000}.items():
        made.reservations.reserve(f"on {endpoint}", endpoint, ahead, ahead, 60)
    made.fleet.failed("b")

    reply = await answer(made)

    assert reply.endpoint.endpoint_id == "d"
    assert [e.endpoint_id for e in reply.alternatives] == ["c", "a", "b"]


async def test_alternatives_are_bounded() -> None:
    """Fifteen tries are enough; what is kept of a decision does not grow with the fleet."""
    made = parts(*(record(f"e{i:03}") for i in range(100)))

    decision = await decide(made)

    assert len(encode_reply(decision, False, False).alternatives) == MAX_ALTERNATIVES
    assert len(decision.opened.matrix) == MAX_ALTERNATIVES + 1
    assert len(encode_reply(decision, True, False).candidates) == 100


async def test_excluded_endpoints_are_neither_chosen_nor_offered() -> None:
    """They were tried already."""
    made = parts(record("a"), record("b"), record("c"))

    reply = await answer(made, call(exclude=["a", "c"]))

    assert reply.endpoint.endpoint_id == "b"
    assert not reply.alternatives


async def test_round_robin_is_fair_to_each_model() -> None:
    """Requests for another model in between do not skip endpoints."""
    made = parts(
        *(record(e) for e in "ab"),
        *(record(e, model="other") for e in "cd"),
        profile="round-robin",
    )
    router = RequestRouter(made)
    chosen: Counter[str] = Counter()

    for _ in range(10):
        for model in ("m", "other"):
            decision = await router.route(call(model=model), 0)
            chosen[decision.opened.endpoint_ids[0]] += 1

    assert chosen == {"a": 5, "b": 5, "c": 5, "d": 5}


async def test_all_endpoints_failing_relaxes_the_filter() -> None:
    """Better one that failed moments ago than none; the fallback is named and counted."""
    made = parts(record("a"))
    made.fleet.failed("a")
    counter = metrics.fallbacks.labels("filter-available-relaxed")
    before = counter._value.get()

    reply = await answer(made)

    assert list(reply.fallbacks) == ["filter-available-relaxed"]
    assert counter._value.get() == before + 1


async def test_every_part_being_away_still_makes_a_decision() -> None:
    """With the names of what was replaced."""
    made = parts(
        record("a"),
        index=ScriptedIndex(away="timeout"),
        predictor=ScriptedPredictor(away="breaker"),
    )

    reply = await answer(made)

    assert list(reply.fallbacks) == ["index-timeout", "predictor-breaker"]
    assert reply.bundle_version == 0


async def test_without_the_index_a_conversation_stays_where_it_went() -> None:
    """The memory of what was routed where stands in."""
    made = parts(record("a"), record("b"), index=ScriptedIndex(away="none"))
    router = RequestRouter(made)
    first = (await router.route(call(), 0)).opened
    made.reservations.release(first.decision_id)

    again = (await router.route(call(), 0)).opened

    assert again.endpoint_ids[0] == first.endpoint_ids[0]
    assert again.cached_tokens[0] == 1984


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (call(model="x"), UnknownModel),
        (call(exclude=["a"]), NoEndpoint),
        (call(profile="x"), InvalidField),
        (call(prompt=tokens(0)), InvalidField),
        (call(prompt="text"), NoEndpoint),
    ],
)
async def test_a_refused_request_books_nothing(
    wanted: RouteCall, error: type[FarsightError]
) -> None:
    """Neither load nor an open decision."""
    made = parts(record("a"))

    with pytest.raises(error):
        await decide(made, wanted)

    assert made.outcomes.open_decisions == 0
    assert made.reservations.in_flight(("a",)).requests.tolist() == [0]


async def test_a_client_that_goes_away_before_the_decision_books_nothing() -> None:
    """The call is cancelled while it waits for the predictor."""
    predictor = ScriptedPredictor(gate=asyncio.Event())
    made = parts(record("a"), predictor=predictor)
    routing = asyncio.create_task(decide(made))
    await eventually(lambda: predictor.waiting == 1)

    routing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await routing

    assert made.outcomes.open_decisions == 0
    assert made.reservations.in_flight(("a",)).requests.tolist() == [0]


async def test_a_client_that_never_reports_holds_its_load_for_a_minute() -> None:
    """No longer, unless three times what was predicted is longer."""
    clock = Clock()
    made = parts(record("a"), clock=clock)
    await decide(made)

    clock.now_s += 60
    made.outcomes.expire()
    within = made.reservations.in_flight(("a",)).requests.tolist()
    clock.now_s += 1
    made.outcomes.expire()

    assert within == [1]
    assert made.reservations.in_flight(("a",)).requests.tolist() == [0]


async def test_a_long_request_holds_its_load_longer() -> None:
    """A queue of minutes is no reason to think that the client is gone."""
    clock = Clock()
    made = parts(record("a"), clock=clock)
    made.reservations.reserve("other", "a", 5_000_000, 5_000_000, 600)
    await decide(made)

    clock.now_s += 200
    made.outcomes.expire()

    assert made.reservations.in_flight(("a",)).requests.tolist() == [2]


async def test_an_endpoint_that_leaves_during_a_decision_is_not_chosen() -> None:
    """The decision is made again without it."""
    predictor = ScriptedPredictor(gate=asyncio.Event())
    made = parts(record("a"), record("b"), predictor=predictor)
    made.reservations.reserve("other", "b", 50_000, 50_000, 60)
    routing = asyncio.create_task(decide(made))
    await eventually(lambda: predictor.waiting == 1)

    made.fleet.update(stored(record("b")))
    assert predictor.gate is not None
    predictor.gate.set()

    assert (await routing).opened.endpoint_ids == ("b",)
    assert made.reservations.in_flight(("a", "b")).requests.tolist() == [0, 2]


@pytest.mark.parametrize("happens", ["nothing", "a reservation", "a release"])
async def test_a_decision_looks_again_only_when_the_load_in_flight_has_changed(
    happens: str,
) -> None:
    """While it waited for the predictor; what engines reported meanwhile is seen along with it."""
    predictor = ScriptedPredictor(gate=asyncio.Event())
    made = parts(record("a"), record("b"), predictor=predictor)
    made.reservations.reserve("other", "b", 4000, 5000, 60)
    routing = asyncio.create_task(decide(made))
    await eventually(lambda: predictor.waiting == 1)

    load = Load(endpoint_id="a", waiting_requests=9)
    made.fleet.on_load("s", load.SerializeToString())
    if happens == "a reservation":
        made.reservations.reserve("more", "b", 1000, 2000, 60)
    elif happens == "a release":
        made.reservations.release("other")
    assert predictor.gate is not None
    predictor.gate.set()
    seen = (await routing).candidates

    ahead = {"nothing": 4000, "a reservation": 5000, "a release": 0}[happens]
    assert seen.in_flight_prefill_tokens.tolist() == [0, ahead]
    assert seen.waiting_requests.tolist() == [0 if happens == "nothing" else 9, 0]


async def test_an_endpoint_that_fails_during_a_decision_is_not_chosen() -> None:
    """Another replica's client has told; the load in flight is as it was."""
    predictor = ScriptedPredictor(gate=asyncio.Event())
    made = parts(record("a"), record("b"), predictor=predictor)
    made.reservations.reserve("other", "b", 50_000, 50_000, 60)
    routing = asyncio.create_task(decide(made))
    await eventually(lambda: predictor.waiting == 1)

    made.fleet.failed("a")
    assert predictor.gate is not None
    predictor.gate.set()

    assert (await routing).opened.endpoint_ids[0] == "b"


async def test_when_the_last_endpoint_leaves_during_a_decision_there_is_none() -> None:
    """UNAVAILABLE, not an endpoint that is gone."""
    predictor = ScriptedPredictor(gate=asyncio.Event())
    made = parts(record("a"), predictor=predictor)
    routing = asyncio.create_task(decide(made))
    await eventually(lambda: predictor.waiting == 1)

    made.fleet.update({})
    assert predictor.gate is not None
    predictor.gate.set()

    with pytest.raises(NoEndpoint):
        await routing


async def test_an_adapter_is_routed_with_keys_of_its_own() -> None:
    """And predicted as its base model."""
    index = ScriptedIndex({"a": (0, 0, 0)})
    made = parts(record("a", lora_names=["ada"]), index=index)

    base, adapted = await decide(made), await decide(made, call(model="ada"))

    assert (adapted.opened.model, adapted.opened.base_model) == ("ada", "m")
    assert base.opened.base_model == "m"
    assert index.asked[0][0].tolist() != index.asked[1][0].tolist()


async def test_a_session_reaches_the_plugins() -> None:
    """Its requests stay together, those of others do not."""
    made = parts(*(record(f"e{i}") for i in range(8)))
    made.profiles.update({"sticky": b"scorers: [session-affinity]\npicker: max-score"})

    async def home(session_id: str) -> str:
        decision = await decide(made, call(profile="sticky", session_id=session_id))
        return decision.opened.endpoint_ids[0]

    assert len({await home("one") for _ in range(20)}) == 1
    assert len({await home(f"session {i}") for i in range(40)}) == 8


async def test_a_target_moves_a_request_to_an_endpoint_that_can_meet_it() -> None:
    """Where computing the prompt harms nobody is best, until the queue there is too long."""
    made = parts(record("queue"), record("busy"))
    made.reservations.reserve("waiting", "queue", 6000, 6000, 60)
    for i in range(60):
        made.reservations.reserve(f"decoding {i}", "busy", 0, 500, 60)
        made.reservations.first_token(f"decoding {i}")

    free = await answer(made)
    made.reservations.release(free.decision_id)
    ttft_ms = {c.endpoint_id: c.predicted.ttft for c in free.candidates}
    target_ms = (ttft_ms["busy"].q90_ms + ttft_ms["queue"].q50_ms) / 2
    bound = await answer(made, call(slo_ttft_ms=target_ms))

    assert ttft_ms["busy"].q90_ms < ttft_ms["queue"].q50_ms
    assert (free.endpoint.endpoint_id, bound.endpoint.endpoint_id) == ("queue", "busy")
