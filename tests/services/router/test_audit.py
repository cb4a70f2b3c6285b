"""When the audit doubts the index, and when it does not."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from farsight.index.match import Confidence
from farsight.latency.features import FEATURE_COUNT, Feature
from farsight.pb.events_pb2 import KvDoubt
from services.router import metrics
from services.router.audit import DOUBT_INTERVAL_S, WINDOW_REQUESTS, Audit
from services.router.decisions import OpenDecision
from tests.services.router.given import opened

BLOCK_TOKENS = 16
EPOCH = 9


class Wall:
    """A wall clock that moves when the test says so."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000

    def __call__(self) -> int:
        return self.now_ms


def decision(
    indexed: int = 1000,
    speculative: int = 0,
    confidence: Confidence = Confidence.EXACT,
    ahead: Feature | None = None,
    decided_unix_ms: int = 1,
    endpoint_id: str = "e0",
) -> OpenDecision:
    """A decision for an endpoint; the second one of the answer was predicted alike."""
    matrix = np.zeros((2, FEATURE_COUNT), np.float32)
    if ahead is not None:
        matrix[:, ahead] = 1
    return replace(
        opened(endpoint_ids=(endpoint_id, "other"), decided_unix_ms=decided_unix_ms),
        matrix=matrix,
        cached_tokens=(indexed + speculative,) * 2,
        indexed_tokens=(indexed,) * 2,
        confidence=(confidence,) * 2,
    )


def finish(audit: Audit, found: Sequence[int], made: OpenDecision, row: int = 0) -> list[KvDoubt]:
    """Requests that were predicted alike and found so many tokens; doubts that came of it."""
    for tokens in found:
        audit.take(made, row, tokens, BLOCK_TOKENS, EPOCH)
    return audit.take_doubts()


def drift(endpoint_id: str = "e0") -> tuple[float, float]:
    """What the gauges say: over and under."""
    gauge = metrics.cached_drift_tokens
    over, under = (gauge.labels(endpoint_id, way)._value.get() for way in ("over", "under"))
    return over, under


ALL = [0] * WINDOW_REQUESTS


def test_persistent_over_prediction_is_doubted_once() -> None:
    """With the endpoint's epoch, the router and the mean error; before a whole window, never."""
    audit = Audit("r1", Wall())
    before = metrics.kv_doubts.labels("e0")._value.get()

    early = finish(audit, ALL[1:], decision())
    doubts = finish(audit, [0], decision())

    assert early == []
    assert doubts == [
        KvDoubt(endpoint_id="e0", epoch=EPOCH, router_id="r1", mean_error_tokens=1000)
    ]
    assert audit.take_doubts() == []
    assert drift() == (1000, 0)
    assert (audit.drift_tokens("e0"), audit.drift_tokens("nobody")) == (1000, 0)
    assert metrics.kv_doubts.labels("e0")._value.get() == before + 1


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (decision(), [1000] * WINDOW_REQUESTS),
        (decision(100), [84] * WINDOW_REQUESTS),
        (decision(), [920] * WINDOW_REQUESTS),
        (decision(), [0] * 7 + [1000] * 25),
        (decision(0, speculative=1000), ALL),
        (decision(500, speculative=500), [500] * WINDOW_REQUESTS),
        (decision(confidence=Confidence.DEGRADED), ALL),
        (decision(confidence=Confidence.APPROXIMATE), ALL),
        (decision(ahead=Feature.WAITING_REQUESTS), ALL),
        (decision(ahead=Feature.PREFILL_AHEAD_TOKENS), ALL),
        (decision(), [1100] * WINDOW_REQUESTS),
    ],
    ids=[
        "right", "a block", "a twelfth", "few requests", "all on its way", "half on its way",
        "degraded", "approximate", "queued", "behind another", "too little was predicted",
    ],
)  # fmt: skip
def test_what_is_not_the_indexs_error_is_not_doubted(
    made: OpenDecision, found: Sequence[int]
) -> None:
    """Nor what is small, rare, or comes of waiting."""
    audit = Audit("r1", Wall())

    assert finish(audit, [*found] * 3, made) == []


def test_a_request_that_was_tried_elsewhere_first_is_not_audited() -> None:
    """It came later than its prediction."""
    audit = Audit("r1", Wall())

    assert finish(audit, ALL * 3, decision(), row=1) == []


def test_endpoints_are_judged_apart() -> None:
    """One that is wrong does not discredit another."""
    audit = Audit("r1", Wall())

    doubts = [
        doubt.endpoint_id
        for _ in range(WINDOW_REQUESTS)
        for endpoint_id, found in (("e0", 1000), ("e1", 0), ("e2", 1000))
        for doubt in finish(audit, [found], decision(endpoint_id=endpoint_id))
    ]

    assert doubts == ["e1"]


def test_after_a_doubt_only_new_decisions_count_and_doubts_become_rare() -> None:
    """At most one a minute, half as many each time; when one has helped, a minute again."""
    wall = Wall()
    audit = Audit("r1", wall)
    finish(audit, ALL, decision())

    def doubted_after(seconds: float) -> bool:
        wall.now_ms += int(seconds * 1000)
        return bool(finish(audit, ALL, decision(decided_unix_ms=wall.now_ms)))

    old = finish(audit, ALL * 2, decision(decided_unix_ms=wall.now_ms))
    after = [
        doubted_after(s) for s in (DOUBT_INTERVAL_S - 1, 1, DOUBT_INTERVAL_S, DOUBT_INTERVAL_S)
    ]
    wall.now_ms += 1
    finish(audit, [1000] * WINDOW_REQUESTS, decision(decided_unix_ms=wall.now_ms))
    repaired = drift()
    after.append(doubted_after(DOUBT_INTERVAL_S))

    assert old == []
    assert after == [False, True, False, True, True]
    assert repaired == (0, 0)


def test_persistent_under_prediction_is_said_and_not_doubted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A warning when it begins, a gauge while it lasts: no snapshot repairs a tokenizer."""
    audit = Audit("r1", Wall())
    made = decision(0)

    with caplog.at_level("WARNING"):
        doubts = finish(audit, [800] * WINDOW_REQUESTS * 2, made)
    during, told = drift(), audit.drift_tokens("e0")
    finish(audit, [0] * WINDOW_REQUESTS, made)

    assert doubts == []
    assert (during, drift()) == ((0, 800), (0, 0))
    assert (told, audit.drift_tokens("e0")) == (-800, 0)
    assert [r.message for r in caplog.records] == [
        "predicted and reported cached tokens drift apart"
    ]


def test_a_new_life_begins_a_new_window() -> None:
    """Decisions for the old one say nothing about it; an endpoint that left has no window."""
    wall = Wall()
    audit = Audit("r1", wall)
    finish(audit, ALL[1:], decision())

    audit.begin("e0")
    audit.begin("nobody")
    late = finish(audit, ALL * 2, decision(decided_unix_ms=wall.now_ms))
    wall.now_ms += 1
    anew = finish(audit, ALL, decision(decided_unix_ms=wall.now_ms))
    audit.forget("e0")
    audit.forget("nobody")

    assert (late, len(anew)) == ([], 1)
    assert finish(audit, ALL[1:], decision()) == []


def test_a_new_life_begins_a_window_though_nothing_was_audited_before() -> None:
    """Requests of the old life that end in the new one are not held against it."""
    wall = Wall()
    audit = Audit("r1", wall)

    audit.begin("e0")

    assert finish(audit, ALL, decision(decided_unix_ms=wall.now_ms)) == []


def observed(endpoint_id: str, confidence: str) -> tuple[float, float]:
    """Number and sum of the errors in the histogram."""
    kept: Any = metrics.cached_error_tokens._metrics[endpoint_id, confidence]
    return sum(bucket.get() for bucket in kept._buckets), kept._sum.get()


def test_errors_are_told_by_endpoint_and_confidence() -> None:
    """Of exact answers the index's own; speculation is counted beside it."""
    audit = Audit("r1", Wall())
    taken, missed = (
        metrics.speculative_tokens.labels(what)._value.get() for what in ("found", "missed")
    )

    finish(audit, [0], decision(100, 50, Confidence.DEGRADED, endpoint_id="x"))
    finish(audit, [90, 100, 120, 150, 170], decision(100, 50, endpoint_id="x"))

    assert observed("x", "degraded") == (1, 150)
    assert observed("x", "exact") == (5, 10 - 20)
    assert metrics.speculative_tokens.labels("found")._value.get() == taken + 20 + 50 + 50
    assert metrics.speculative_tokens.labels("missed")._value.get() == missed + 50 + 50 + 50 + 30
    metrics.forget_endpoint("x")
    with pytest.raises(KeyError):
        observed("x", "exact")
