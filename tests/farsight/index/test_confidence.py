"""When an endpoint is EXACT, and what is said when it is not."""

import numpy as np

from farsight.index.match import Confidence
from farsight.index.standings import HEARTBEAT_LIMIT_S, IN_FLIGHT_GRACE_S, MAX_AGE_MS
from farsight.pb import types_pb2
from tests.farsight.index.loading import finish
from tests.farsight.index.messages import (
    Cache,
    key_array,
)
from tests.farsight.index.world import EXACT, GAP, SILENT, UNKNOWN, World


def test_a_life_is_not_exact_before_its_first_heartbeat(world: World) -> None:
    """The sidecar may know of holes in its mirror, and says so in heartbeats only."""
    cache = Cache("a")

    world.index.apply(cache.store(1))
    assert world.confidence() == SILENT
    world.hear(cache)
    assert world.confidence() == EXACT

    cache.restart()
    world.index.apply(cache.store(1))
    assert world.confidence() == SILENT


def test_a_life_met_in_the_middle_waits_for_a_snapshot(world: World) -> None:
    """A heartbeat or delta past the first one shows that something is missing."""
    cache = Cache("a")
    cache.store(1)

    world.hear(cache)
    assert world.confidence() == UNKNOWN
    assert world.index.apply(cache.store(2)) == "held"

    assert world.wanted == ["a", "a"]
    assert finish(world.index.replace(cache.snapshot()))
    assert world.confidence() == EXACT
    assert world.held() == cache.held


def test_a_late_first_heartbeat_does_not_make_a_life_empty(world: World) -> None:
    """One that says `nothing sent yet` counts only while nothing else was seen."""
    cache = Cache("a")
    first = cache.heartbeat()
    cache.store(1)
    world.index.apply(cache.store(2))

    world.index.heard(first)

    assert world.confidence() == UNKNOWN


def test_a_lost_tail_shows_in_the_heartbeat(world: World, cache: Cache) -> None:
    """An announced delta may be on its way for a moment; then it is lost."""
    cache.store(4)

    world.hear(cache)
    assert world.confidence() == EXACT
    world.now_s += IN_FLIGHT_GRACE_S * 1.1
    assert world.confidence() == GAP
    assert world.wanted == []

    world.hear(cache)
    assert world.wanted == ["a"]


def test_a_stream_that_flows_is_never_a_lost_tail(world: World, cache: Cache) -> None:
    """Each heartbeat is ahead of the deltas, which all come in time."""
    for _ in range(10):
        on_its_way = cache.store(cache.seq + 10)
        world.hear(cache)
        world.now_s += IN_FLIGHT_GRACE_S * 0.6
        world.index.apply(on_its_way)
        ahead = cache.store(cache.seq + 10)
        world.hear(cache)
        world.now_s += IN_FLIGHT_GRACE_S * 0.6
        assert world.confidence() == EXACT
        world.index.apply(ahead)

    assert world.wanted == []


def test_deltas_always_behind_the_heartbeats_are_no_gap(world: World, cache: Cache) -> None:
    """A delta is late by its own announcement, not by the oldest time that any was under way."""
    under_way = cache.store(100)
    world.hear(cache)
    for key in range(101, 120):
        world.now_s += IN_FLIGHT_GRACE_S * 0.5
        following = cache.store(key)
        world.hear(cache)
        world.index.apply(under_way)
        under_way = following

        assert world.confidence() == EXACT
    assert world.wanted == []


def test_silence_degrades_and_is_forgotten_at_last(world: World, cache: Cache) -> None:
    """Without heartbeats nothing proves the tail; the endpoint goes when it stays silent."""
    world.now_s += HEARTBEAT_LIMIT_S * 1.1
    assert world.confidence() == SILENT
    assert world.index.forget_silent(60) == []

    world.hear(cache)
    assert world.confidence() == EXACT

    world.now_s += 61
    assert world.index.forget_silent(60) == ["a"]
    assert world.index.size[0] == 0
    assert world.index.match(np.array([1], np.uint64), ["a"]).endpoint_ids == ()


def test_the_sidecars_own_doubt_is_passed_on(world: World, cache: Cache) -> None:
    """DEGRADED with the sidecar's reason, cut to a bound; no opinion is no trust."""
    degraded = types_pb2.CONFIDENCE_DEGRADED

    world.index.heard(cache.heartbeat(degraded, "partial-replay"))
    assert world.confidence() == (Confidence.DEGRADED, "partial-replay")
    world.index.heard(cache.heartbeat(degraded, "x" * 100_000))
    assert len(world.confidence()[1]) < 1000
    world.index.heard(cache.heartbeat(types_pb2.CONFIDENCE_UNSPECIFIED))
    assert world.confidence()[0] is Confidence.DEGRADED
    world.hear(cache)
    assert world.confidence() == EXACT


def test_ages_count_from_the_last_proof(world: World, cache: Cache) -> None:
    """Milliseconds since the stream was whole; the largest number when it never was."""
    other = Cache("b")
    other.store(1)
    world.hear(other)
    world.now_s += 1.5

    found = world.index.match(key_array(1), [])

    assert dict(zip(found.endpoint_ids, found.age_ms.tolist(), strict=True)) == {
        "a": 1500,
        "b": MAX_AGE_MS,
    }
