"""What reports do to reservations, samples, health and statistics."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from farsight.keys import chain
from farsight.latency.features import FEATURE_COUNT
from farsight.pb.events_pb2 import Sample
from farsight.pb.router_pb2 import EndpointFailed, Finished, FirstToken, Progress, ReportEvent
from services.router import metrics, outcomes
from services.router.audit import WINDOW_REQUESTS
from services.router.decisions import OpenDecision
from services.router.outcomes import KEEP_UNREPORTED_S
from services.router.route import RouterParts
from services.router.samples import SampleSender
from services.router.speculative import SETTLE_S
from tests.services.router.given import Clock, opened, parts, record, stored, tokens

KEYS = tokens(0).astype("u8")
PROMPT = chain(1, tokens(100), 16)


def finished(decision_id: str = "d", endpoint_id: str = "e0", **fields: object) -> ReportEvent:
    """A completed request with 50 output tokens."""
    end: dict[str, object] = {
        "status": Finished.STATUS_COMPLETED,
        "ttft_ms": 120.0,
        "tpot_ms": 11.0,
        "e2e_ms": 700.0,
        "output_tokens": 50,
        "cached_tokens": 48,
    }
    made = Finished(**(end | fields))  # type: ignore[arg-type] # fields by name
    return ReportEvent(decision_id=decision_id, endpoint_id=endpoint_id, finished=made)


def failed(endpoint_id: str, next_endpoint_id: str = "", decision_id: str = "d") -> ReportEvent:
    """A request that an endpoint could not serve."""
    event = EndpointFailed(reason="refused", next_endpoint_id=next_endpoint_id)
    return ReportEvent(decision_id=decision_id, endpoint_id=endpoint_id, endpoint_failed=event)


def router(clock: Clock | None = None) -> RouterParts:
    """Parts with two endpoints."""
    return parts(record("e0"), record("e1"), clock=clock)


def open_one(made: RouterParts, decision: OpenDecision | None = None) -> None:
    """A booked decision for e0."""
    decision = decision or opened()
    made.reservations.reserve(decision.decision_id, "e0", 68, 228, 60)
    made.outcomes.opened(decision, KEYS, is_indexed=False)


def requests(made: RouterParts) -> list[float]:
    """In flight on e0 and e1."""
    found: list[float] = made.reservations.in_flight(("e0", "e1")).requests.tolist()
    return found


def waiting(made: RouterParts) -> Sequence[Sample]:
    """Samples that wait for NATS."""
    samples = made.outcomes._samples
    assert isinstance(samples, SampleSender)
    return samples._queue


def queued(made: RouterParts) -> int:
    """How many samples wait for NATS."""
    return len(waiting(made))


def test_a_finished_request_frees_its_load_and_makes_a_sample() -> None:
    """Once: a second report of the same end is unknown."""
    made = router()
    open_one(made)

    known = (made.outcomes.take(finished()), made.outcomes.take(finished()))

    assert known == (True, False)
    assert requests(made) == [0, 0]
    assert queued(made) == 1
    tally = made.outcomes.tallies["e0"]
    assert (tally.requests, tally.cached_tokens_predicted, tally.cached_tokens_actual) == (
        1,
        32,
        48,
    )
    assert tally.prompt_tokens == 100
    assert made.outcomes.recent_ttft_ms("e0") == (100, 120)
    assert made.outcomes.recent_ttft_ms("e1") == (0, 0)
    assert made.lengths.expected("m", 0) == 50


def test_first_token_and_progress_reach_the_reservation() -> None:
    """The request decodes and keeps its lease."""
    clock = Clock()
    made = router(clock)
    open_one(made)
    clock.now_s += 59

    first = ReportEvent(decision_id="d", endpoint_id="e0", first_token=FirstToken(ttft_ms=1))
    known = made.outcomes.take(first)
    clock.now_s += 599
    progress = ReportEvent(decision_id="d", endpoint_id="e0", progress=Progress(output_tokens=9))
    still_known = made.outcomes.take(progress)
    clock.now_s += 599
    made.outcomes.expire()

    assert known
    assert still_known
    assert made.reservations.in_flight(("e0",)).decoding.tolist() == [1]


@pytest.mark.parametrize(
    "event",
    [
        finished("nobody"),
        failed("e0", decision_id="nobody"),
        ReportEvent(decision_id="nobody", first_token=FirstToken()),
        ReportEvent(decision_id="nobody", progress=Progress()),
        ReportEvent(decision_id="nobody"),
        ReportEvent(),
    ],
)
def test_a_report_for_an_unknown_decision_is_said_to_be_unknown(event: ReportEvent) -> None:
    """It changes neither load nor samples."""
    made = router()
    open_one(made)

    assert not made.outcomes.take(event)
    assert requests(made) == [1, 0]
    assert queued(made) == 0


def test_a_failure_that_another_replica_decided_still_counts_against_the_endpoint() -> None:
    """The report says which endpoint; the decision may be elsewhere."""
    made = router()

    made.outcomes.take(failed("e0", decision_id="nobody"))

    assert made.fleet.is_inhibited("e0")


def test_a_failed_request_moves_to_the_next_endpoint() -> None:
    """With the tokens that it has to compute there; the sample is of the endpoint that served."""
    made = router()
    open_one(made)

    made.outcomes.take(failed("e0", "e1"))
    moved, prefill = requests(made), made.reservations.in_flight(("e1",)).prefill_tokens.tolist()
    made.outcomes.take(finished(endpoint_id="e1"))

    assert moved == [0, 1]
    assert prefill == [100]
    assert made.fleet.is_inhibited("e0")
    assert requests(made) == [0, 0]
    assert waiting(made)[0].endpoint_id == "e1"
    assert made.outcomes.tallies["e1"].cached_tokens_predicted == 0


@pytest.mark.parametrize("next_id", ["", "nobody"])
def test_a_failed_request_that_was_given_up_is_over(next_id: str) -> None:
    """An endpoint that was not in the answer is another decision's matter."""
    made = router()
    open_one(made)

    made.outcomes.take(failed("e0", next_id))

    assert requests(made) == [0, 0]
    assert made.outcomes.open_decisions == 0


@pytest.mark.parametrize(
    "event",
    [
        finished(endpoint_id="nobody"),
        finished(ttft_ms=-1.0),
        finished(ttft_ms=float("nan")),
        finished(tpot_ms=float("inf")),
        finished(e2e_ms=1e12),
    ],
    ids=["other endpoint", "negative", "NaN", "infinite", "absurd"],
)
def test_a_report_that_cannot_be_true_makes_no_sample(event: ReportEvent) -> None:
    """The load is freed all the same, and the refusal is counted."""
    made = router()
    open_one(made)
    before = metrics.samples.labels("refused")._value.get()

    assert made.outcomes.take(event)
    assert requests(made) == [0, 0]
    assert queued(made) == 0
    assert metrics.samples.labels("refused")._value.get() == before + 1


@pytest.mark.parametrize("status", [Finished.STATUS_CANCELLED, Finished.STATUS_FAILED])
def test_a_request_that_did_not_complete_is_a_sample_and_no_statistic(
    status: Finished.Status.ValueType,
) -> None:
    """Its output length and TTFT would mislead."""
    made = router()
    open_one(made)

    made.outcomes.take(finished(status=status))

    assert queued(made) == 1
    assert made.outcomes.tallies["e0"].prompt_tokens == 0
    assert made.lengths.expected("m", 0) == 128


def test_an_absent_cached_count_is_not_zero() -> None:
    """An engine that does not report it says nothing about the prediction."""
    made = router()
    open_one(made)
    event = finished()
    event.finished.ClearField("cached_tokens")

    made.outcomes.take(event)

    assert made.outcomes.tallies["e0"].prompt_tokens == 0
    assert not waiting(made)[0].HasField("cached_tokens_actual")


def test_a_report_after_the_lease_still_makes_a_sample() -> None:
    """Slow requests are those that the trainer must not miss."""
    clock = Clock()
    made = router(clock)
    open_one(made, opened(decided_unix_ms=outcomes.now_unix_ms()))
    before = metrics.reservations_expired._value.get()
    clock.now_s += 61

    made.outcomes.expire()
    freed = requests(made)
    known = made.outcomes.take(finished())

    assert (freed, known) == ([0, 0], True)
    assert queued(made) == 1
    assert metrics.reservations_expired._value.get() == before + 1


def test_decisions_that_nobody_reports_on_are_forgotten() -> None:
    """Not those that are still booked, however old."""
    limit_ms = KEEP_UNREPORTED_S * 1000
    made = parts(record("e0"), record("e1"), unix_ms=lambda: limit_ms + 10)
    made.outcomes.opened(opened("old", decided_unix_ms=1), KEYS, is_indexed=False)
    open_one(made, opened("booked", decided_unix_ms=2))
    made.outcomes.opened(opened("new", decided_unix_ms=11), KEYS, is_indexed=False)

    made.outcomes.expire()

    known = {d: made.outcomes.take(finished(d)) for d in ("old", "booked", "new")}
    assert known == {"old": False, "booked": True, "new": True}


def test_too_many_open_decisions_end_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its booking, so that neither grows without bound."""
    monkeypatch.setattr(outcomes, "MAX_OPEN", 3)
    made = router()

    for i in range(5):
        open_one(made, opened(f"d{i}"))

    assert made.outcomes.open_decisions == 3
    assert requests(made) == [3, 0]
    assert not made.outcomes.take(finished("d1"))
    assert made.outcomes.take(finished("d2"))


def test_an_endpoint_that_left_leaves_no_series_behind() -> None:
    """Nor does a report that comes after it left; one that restarted keeps its own."""
    made = router()
    open_one(made)
    for endpoint_id in ("e0", "e1"):
        metrics.in_flight.labels(endpoint_id).set(1)
        metrics.decisions.labels("predicted", endpoint_id).inc()

    made.outcomes.void(made.fleet.update(stored(record("e1", epoch=2))))
    made.outcomes.take(finished())

    labels = {
        sample.labels["endpoint"]
        for metric in (metrics.in_flight, metrics.decisions, metrics.prompt_tokens)
        for family in metric.collect()
        for sample in family.samples
    }
    assert "e0" not in labels
    assert "e1" in labels
    assert "e0" not in made.outcomes.tallies


def on_their_way(made: RouterParts) -> list[int]:
    """Blocks of the prompt that e0 and e1 are about to hold."""
    nothing = np.zeros(2, np.int64)
    found = made.routed.on_their_way(PROMPT, ("e0", "e1"), nothing, np.zeros(2, np.bool_))
    return [int(count) for count in found]


def open_prompt(made: RouterParts, is_indexed: bool = False) -> None:
    """A decision that sends a prompt of six blocks to e0."""
    made.outcomes.opened(opened(), PROMPT, is_indexed)


def test_a_decision_is_expected_at_its_endpoint_until_it_moves() -> None:
    """Unless the index shows it there already."""
    shown, made = router(), router()
    open_prompt(shown, is_indexed=True)
    open_prompt(made)
    first = on_their_way(made)

    made.outcomes.take(failed("e0", "e1"))

    assert (on_their_way(shown), first, on_their_way(made)) == ([0, 0], [6, 0], [0, 6])


@pytest.mark.parametrize(
    "event",
    [
        failed("e0"),
        failed("e0", decision_id="nobody"),
        finished(status=Finished.STATUS_CANCELLED),
        finished(status=Finished.STATUS_FAILED),
    ],
    ids=["given up", "another replica's", "cancelled", "failed"],
)
def test_what_failed_or_was_given_up_is_not_expected(event: ReportEvent) -> None:
    """Nobody computes it."""
    made = router()
    open_prompt(made)

    made.outcomes.take(event)

    assert on_their_way(made) == [0, 0]


@pytest.mark.parametrize(
    "event",
    [finished(), ReportEvent(decision_id="d", endpoint_id="e0", first_token=FirstToken(ttft_ms=1))],
    ids=["finished", "first token"],
)
def test_a_request_that_was_served_is_left_to_the_index(event: ReportEvent) -> None:
    """Moments later, when that has heard of it."""
    clock = Clock()
    made = router(clock)
    open_prompt(made)

    made.outcomes.take(event)
    at_once = on_their_way(made)
    clock.now_s += SETTLE_S

    assert (at_once, on_their_way(made)) == ([6, 0], [0, 0])


def test_a_request_does_not_move_to_an_endpoint_that_left() -> None:
    """Nothing is remembered of it."""
    made = router()
    open_prompt(made)
    made.outcomes.void(made.fleet.update(stored(record("e0"))))

    made.outcomes.take(failed("e0", "e1"))

    assert on_their_way(made) == [0, 0]
    assert made.routed.remembered(PROMPT, ("e0", "e1")).tolist() == [6, 0]


def test_persistent_over_prediction_becomes_a_doubt() -> None:
    """With the epoch of the endpoint's record."""
    made = parts(record("e0", epoch=5), record("e1"))

    for i in range(WINDOW_REQUESTS):
        calm = np.zeros((2, FEATURE_COUNT), np.float32)
        decision = replace(opened(f"d{i}"), matrix=calm)
        made.outcomes.opened(decision, KEYS, is_indexed=False)
        made.outcomes.take(finished(f"d{i}", cached_tokens=0))

    (doubt,) = made.audit.take_doubts()
    assert (doubt.endpoint_id, doubt.epoch, doubt.router_id) == ("e0", 5, "r1")
    assert doubt.mean_error_tokens == 32
