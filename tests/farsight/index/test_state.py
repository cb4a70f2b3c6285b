"""Deltas, gaps, snapshots and lives of engines, with a scripted sidecar."""

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
from tests.farsight.index.world import EXACT, GAP, World


def test_deltas_in_order_are_exact(world: World, cache: Cache) -> None:
    """Each delta of a life that was seen from its start counts at once."""
    world.index.apply(cache.tell(change(REMOVE, [3]), change(STORE, [7], HOST)))
    world.index.apply(cache.tell(change(STORE, [9], STORAGE), change(CLEAR)))

    assert world.held() == {DEVICE: frozenset(), HOST: {7}, STORAGE: {9}}
    assert world.confidence() == EXACT
    assert world.wanted == []


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

    while (done := step(loading)) is None:
        world.index.apply(cache.tell(change(REMOVE, [cache.seq]), change(STORE, [50_000])))
        world.hear(cache)

    assert done.result
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
