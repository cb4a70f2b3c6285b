"""The index with a scripted sidecar and a clock that the tests turn."""

import numpy as np
import pytest

from farsight.errors import InvalidField
from farsight.index.match import Confidence
from farsight.index.source import HEARTBEAT_LIMIT_S, IN_FLIGHT_GRACE_S, MAX_PENDING_DELTAS
from farsight.index.state import MAX_AGE_MS, KvIndex
from farsight.pb import types_pb2
from farsight.pb.events_pb2 import KvDelta, KvSnapshot, Load, TierKeys
from tests.farsight.index.loading import finish, step
from tests.farsight.index.messages import (
    CLEAR,
    DEVICE,
    HOST,
    REMOVE,
    STORAGE,
    STORE,
    Cache,
    change,
)


class World:
    """An index, its clock, and the snapshots that it asked for."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.wanted: list[str] = []
        self.index = KvIndex(lambda: self.now_s, self.wanted.append)

    def hear(self, cache: Cache) -> None:
        """A heartbeat comes."""
        self.index.heard(cache.heartbeat())

    def confidence(self, endpoint_id: str = "a") -> tuple[Confidence, str]:
        """How far the index trusts an endpoint, and why not further."""
        found = next(s for s in self.index.report() if s.endpoint_id == endpoint_id)
        return found.confidence, found.reason

    def held(self, endpoint_id: str = "a") -> dict[int, frozenset[int]]:
        """Keys by tier."""
        self.index.check_integrity()
        return {t: frozenset(k.tolist()) for t, k in self.index.dump(endpoint_id)[2]}


EXACT = (Confidence.EXACT, "")
GAP = (Confidence.DEGRADED, "gap")
UNKNOWN = (Confidence.DEGRADED, "waiting for a snapshot")
SILENT = (Confidence.DEGRADED, "no heartbeat")


@pytest.fixture
def world() -> World:
    """An empty index."""
    return World()


@pytest.fixture
def cache(world: World) -> Cache:
    """Endpoint `a`, known since its beginning: blocks 1, 2, 3 on the device."""
    cache = Cache("a")
    world.hear(cache)
    assert world.index.apply(cache.store(1, 2, 3)) == "applied"
    world.hear(cache)
    return cache


def test_deltas_in_order_are_exact(world: World, cache: Cache) -> None:
    """Each delta of a life that was seen from its start counts at once."""
    world.index.apply(cache.tell(change(REMOVE, [3]), change(STORE, [7], HOST)))
    world.index.apply(cache.tell(change(STORE, [9], STORAGE), change(CLEAR)))

    assert world.held() == {DEVICE: frozenset(), HOST: {7}, STORAGE: {9}}
    assert world.confidence() == EXACT
    assert world.wanted == []


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


def test_duplicates_and_late_deltas_change_nothing(world: World, cache: Cache) -> None:
    """A delta that is contained already is not applied again."""
    removed = cache.tell(change(REMOVE, [3]))
    added = cache.store(3)

    results = [world.index.apply(delta) for delta in (removed, added, removed, added)]

    assert results == ["applied", "applied", "late", "late"]
    assert world.held()[DEVICE] == {1, 2, 3}


def test_a_gap_asks_for_a_snapshot_and_degrades(world: World, cache: Cache) -> None:
    """Behind a missing delta nothing is applied, and what was known stays."""
    cache.store(4)
    late = cache.store(5)

    assert world.index.apply(late) == "gap"

    assert world.wanted == ["a"]
    assert world.confidence() == GAP
    assert world.held()[DEVICE] == {1, 2, 3}


def test_a_gap_that_fills_needs_no_snapshot(world: World, cache: Cache) -> None:
    """Deltas that overtook each other are applied when the missing one comes."""
    first, second, third = cache.store(4), cache.store(5), cache.tell(change(REMOVE, [4]))

    results = [world.index.apply(delta) for delta in (third, second, first)]

    assert results == ["gap", "gap", "applied"]
    assert world.held()[DEVICE] == {1, 2, 3, 5}
    assert world.confidence() == EXACT


async def test_a_snapshot_closes_a_gap_with_what_was_held(world: World, cache: Cache) -> None:
    """Snapshot plus the deltas after it, though one of them came before it."""
    cache.store(4)
    snapshot = cache.snapshot()
    world.index.apply(cache.store(5))
    world.index.apply(cache.tell(change(STORE, [8], HOST)))

    assert await world.index.replace(snapshot)

    assert world.held() == {DEVICE: {1, 2, 3, 4, 5}, HOST: {8}, STORAGE: frozenset()}
    assert world.confidence() == EXACT


async def test_a_snapshot_that_is_too_old_keeps_what_was_held(world: World, cache: Cache) -> None:
    """A further snapshot, which reaches the held deltas, is all that is missing."""
    old = cache.snapshot()
    cache.store(4)
    enough = cache.snapshot()
    for _ in range(3):
        world.index.apply(cache.store(cache.seq + 10))

    assert not await world.index.replace(old)
    assert world.confidence() == GAP
    assert await world.index.replace(enough)

    assert world.held()[DEVICE] == cache.held[DEVICE]


async def test_a_snapshot_never_turns_the_clock_back(world: World, cache: Cache) -> None:
    """One that is older than what is known is not loaded, whether or not there is a gap."""
    old = cache.snapshot()
    world.index.apply(cache.store(4))

    assert await world.index.replace(old)
    assert world.held()[DEVICE] == {1, 2, 3, 4}

    cache.store(5)
    world.index.apply(cache.store(6))
    assert not await world.index.replace(old)
    assert world.held()[DEVICE] == {1, 2, 3, 4}


def test_deltas_flow_while_a_snapshot_loads(world: World) -> None:
    """What comes between two slices of the load is in the result."""
    cache = Cache("a")
    cache.store(*range(1, 9000))
    cache.store(9000)
    loading = world.index.replace(cache.snapshot())

    while (synced := step(loading)) is None:
        world.index.apply(cache.tell(change(REMOVE, [cache.seq]), change(STORE, [50_000])))
        world.hear(cache)

    assert synced
    assert world.confidence() == EXACT
    assert world.held() == cache.held


def test_a_life_that_begins_while_a_snapshot_loads_wins(world: World) -> None:
    """The snapshot of the life before is dropped; nothing of it stays in the tables."""
    cache = Cache("a")
    cache.store(*range(1, 9000))
    loading = world.index.replace(cache.snapshot())
    step(loading)

    cache.restart()
    world.index.apply(cache.store(5))
    world.hear(cache)
    assert not finish(loading)
    assert world.held()[DEVICE] == {5}
    assert world.confidence() == EXACT


def test_an_endpoint_forgotten_while_a_snapshot_loads_leaves_nothing(world: World) -> None:
    """The load ends without bringing the endpoint back."""
    cache = Cache("a")
    cache.store(*range(1, 9000))
    loading = world.index.replace(cache.snapshot())
    step(loading)
    world.now_s += 100

    assert world.index.forget_silent(60) == ["a"]
    assert not finish(loading)
    assert world.index.report() == []
    assert world.index.size[0] == 0


def test_a_new_life_voids_the_one_before(world: World, cache: Cache) -> None:
    """A higher epoch empties the endpoint; messages of the lower one are late from then on."""
    stale_delta, stale_load, stale_snapshot = cache.store(4), cache.heartbeat(), cache.snapshot()
    cache.restart()

    world.hear(cache)
    assert world.index.apply(stale_delta) == "late"
    world.index.heard(stale_load)

    assert not finish(world.index.replace(stale_snapshot))
    assert world.held()[DEVICE] == frozenset()
    assert world.confidence() == EXACT
    assert world.wanted == []


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

    found = world.index.match(keys(1), [])

    assert dict(zip(found.endpoint_ids, found.age_ms.tolist(), strict=True)) == {
        "a": 1500,
        "b": MAX_AGE_MS,
    }


def keys(*values: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Keys to ask for."""
    return np.array(values, np.uint64)


def test_tiers_continue_each_other(world: World, cache: Cache) -> None:
    """Device first, then host, then storage; blocks of a lower tier may lie between."""
    world.index.apply(cache.tell(change(STORE, [4, 6], HOST), change(STORE, [5, 7], STORAGE)))
    world.index.apply(cache.tell(change(STORE, [8], DEVICE)))

    found = world.index.match(keys(1, 2, 3, 4, 5, 6, 7, 8, 9), ["a"])

    assert [*found.device_blocks, *found.host_blocks, *found.storage_blocks] == [3, 1, 4]


def test_only_the_endpoints_asked_for_are_answered(world: World, cache: Cache) -> None:
    """In the order of the question; those that are unknown are left out; all without a list."""
    other = Cache("b")
    world.hear(other)
    world.index.apply(other.store(1, 2))

    asked = world.index.match(keys(1, 2, 3), ["b", "nobody", "a"])
    everyone = world.index.match(keys(1, 2, 3), [])

    assert asked.endpoint_ids == ("b", "a")
    assert asked.device_blocks.tolist() == [2, 3]
    assert set(everyone.endpoint_ids) == {"a", "b"}
    assert world.index.match(keys(), ["a"]).device_blocks.tolist() == [0]
    assert KvIndex(lambda: 0.0, print).match(keys(1), []).endpoint_ids == ()


def test_unknown_tiers_count_as_nothing(world: World, cache: Cache) -> None:
    """A tier of a newer sidecar neither breaks the stream nor adds blocks."""
    future = types_pb2.Tier.ValueType(9)

    assert (
        world.index.apply(
            KvDelta(endpoint_id="a", epoch=1, seq=2, changes=[change(STORE, [77], future)])
        )
        == "applied"
    )

    assert 77 not in set().union(*world.held().values())
    assert world.confidence() == EXACT


@pytest.mark.parametrize(
    "delta",
    [
        KvDelta(endpoint_id="a", epoch=1, seq=2, changes=[change(STORE, [0])]),
        KvDelta(endpoint_id="a", epoch=1, seq=2, changes=[change(0, [5])]),  # type: ignore[arg-type] # an action that is not set
        KvDelta(endpoint_id="a", epoch=1, seq=2, changes=[change(9, [5])]),  # type: ignore[arg-type] # an action that we do not know
    ],
    ids=["key 0", "no action", "unknown action"],
)
def test_a_malformed_delta_is_refused_whole(world: World, cache: Cache, delta: KvDelta) -> None:
    """Nothing of it is applied, and the next delta shows the gap that it leaves."""
    delta.changes.insert(0, change(STORE, [1000]))

    with pytest.raises(InvalidField):
        world.index.apply(delta)

    assert world.held()[DEVICE] == {1, 2, 3}
    cache.store(4)
    assert world.index.apply(cache.store(5)) == "gap"


async def test_malformed_snapshots_are_refused(world: World, cache: Cache) -> None:
    """Torn keys or a count that disagrees: what was known stays."""
    for tiers, count in (([TierKeys(tier=DEVICE, keys=b"abc")], 0), ([], 3)):
        with pytest.raises(InvalidField):
            await world.index.replace(
                KvSnapshot(endpoint_id="a", epoch=1, seq=9, tiers=tiers, block_count=count)
            )

    assert world.held()[DEVICE] == {1, 2, 3}
    assert world.confidence() == EXACT


@pytest.mark.parametrize("endpoint_id", ["", "a b", "x" * 129, "naïve", "a.b"])
def test_impossible_endpoint_ids_are_refused(world: World, endpoint_id: str) -> None:
    """No source is made for an id that no record can have."""
    with pytest.raises(InvalidField):
        world.index.apply(KvDelta(endpoint_id=endpoint_id, epoch=1, seq=1))

    assert world.index.report() == []


def test_an_unknown_confidence_is_refused(world: World) -> None:
    """A heartbeat that we cannot read makes no source."""
    with pytest.raises(InvalidField):
        world.index.heard(Load(endpoint_id="a", kv_confidence=types_pb2.Confidence.ValueType(9)))

    assert world.index.report() == []


def test_endpoints_and_held_deltas_are_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the limits, endpoints are refused and the oldest held deltas dropped."""
    monkeypatch.setattr("farsight.index.state.MAX_ENDPOINTS", 2)
    for name in "ab":
        world.hear(Cache(name))
    with pytest.raises(InvalidField, match="at most 2"):
        world.hear(Cache("c"))

    for seq in range(2, MAX_PENDING_DELTAS + 12):
        world.index.apply(KvDelta(endpoint_id="a", epoch=1, seq=seq))
    reaching, short = (KvSnapshot(endpoint_id="a", epoch=1, seq=seq) for seq in (11, 10))

    assert not finish(world.index.replace(short))
    assert finish(world.index.replace(reaching))


async def test_a_restarted_endpoint_keeps_its_neighbours(world: World, cache: Cache) -> None:
    """Slots are used again; blocks of others on the same keys stay."""
    other = Cache("b")
    world.hear(other)
    world.index.apply(other.store(1, 2, 3, 4))

    for _ in range(5):
        cache.restart()
        world.hear(cache)
        world.index.apply(cache.store(3, 4, 5))

    assert world.held("a")[DEVICE] == {3, 4, 5}
    assert world.held("b")[DEVICE] == {1, 2, 3, 4}
    assert world.index.size[0] == 5


async def test_a_dump_of_a_stranger_names_the_field(world: World) -> None:
    """Which endpoints are known is in the message."""
    with pytest.raises(InvalidField) as refused:
        world.index.dump("a")

    assert refused.value.field == "endpoint_id"


def test_reports_count_blocks_by_tier(world: World, cache: Cache) -> None:
    """Device, host and storage, with epoch and sequence."""
    world.index.apply(cache.tell(change(STORE, [8, 9], HOST), change(STORE, [9], STORAGE)))

    (report,) = world.index.report()

    assert report.blocks == (3, 2, 1)
    assert (report.epoch, report.applied_seq, report.announced_seq) == (1, 2, 2)
