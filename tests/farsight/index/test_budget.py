"""A memory budget: who loses blocks when it is reached, which ones, and how they come back."""

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farsight import positions
from farsight.index import budget
from farsight.index.match import Confidence
from farsight.index.source import NO_LIMIT
from farsight.index.trimming import LIFT_AFTER_S
from farsight.table import MIN_CAPACITY, BlockTable
from tests.farsight.index.loading import finish
from tests.farsight.index.messages import DEVICE, STORE, Cache, change
from tests.farsight.index.world import EXACT, World

SHORT = (Confidence.DEGRADED, "index-budget")
# Three tables of the smallest capacity, and nothing else.
TIGHT_BYTES = 3 * BlockTable.bytes_of(MIN_CAPACITY, 1)
PROMPT_KEYS = 128


def prompts(cache: Cache, world: World, numbers: Iterable[int]) -> None:
    """An endpoint stores whole prompts of 128 blocks that share nothing."""
    for number in numbers:
        first = number * PROMPT_KEYS + 1
        keys = range(first, first + PROMPT_KEYS)
        cache.position_of.update(zip(keys, range(PROMPT_KEYS), strict=True))
        stored = change(STORE, keys, DEVICE, spans=[0, PROMPT_KEYS])
        world.index.apply(cache.tell(stored))


def endpoint(world: World, name: str) -> Cache:
    """One that is known from its beginning."""
    cache = Cache(name)
    world.hear(cache)
    return cache


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=8), st.integers(0, 5000))
def test_a_quota_fills_up_from_below(held: list[int], keep: int) -> None:
    """Nobody below it loses anything, all together keep what there is room for, and no less."""
    most = budget.quota(np.array(held), keep)

    assert sum(min(blocks, most) for blocks in held) <= keep or most == 0
    if sum(held) > keep:
        assert sum(min(blocks, most + 1) for blocks in held) > keep
    else:
        assert most >= max(held)


def test_the_deepest_positions_go_first() -> None:
    """Whole buckets, from the last one; who keeps nothing of the first bucket keeps nothing."""
    counts = np.zeros((4, 256), np.int64)
    counts[0, [0, 1, 2]] = 4  # loses bucket 2
    counts[1, 0] = 9  # has more than its share in its first bucket
    counts[2, [5, 200]] = 2  # is below the quota
    counts[3, [0, 255]] = 4, 6  # loses those of unknown position

    assert budget.limits(counts, 28).tolist() == [1, -1, NO_LIMIT, 254]


def test_a_large_endpoint_gives_way_and_a_small_one_keeps_all() -> None:
    """The index never takes more than its budget; what is left is a prefix of every prompt."""
    world = World(TIGHT_BYTES)
    small, large = endpoint(world, "small"), endpoint(world, "large")
    prompts(small, world, range(1))

    for number in range(1, 101):
        prompts(large, world, [number])
        assert world.index.size[1] <= world.index.budget_bytes
    world.hear(small)
    world.hear(large)

    assert world.confidence("small") == EXACT
    assert world.held("small") == small.held
    assert world.confidence("large") == SHORT
    limit = world.index.parts.sources.named("large").limit
    kept = {k for k in large.held[DEVICE] if bucket(large, k) <= limit}
    assert world.held("large")[DEVICE] == kept
    assert len(kept) >= 100  # the beginning of every prompt


def bucket(cache: Cache, key: int) -> int:
    """Of a key's position."""
    return int(positions.bucket_of(np.array([cache.position_of[key]]))[0])


def test_an_endpoint_without_positions_is_dropped_as_a_whole() -> None:
    """Nobody knows which of its blocks could go without a hole."""
    world = World(TIGHT_BYTES)
    known, unknown = endpoint(world, "known"), endpoint(world, "unknown")
    prompts(known, world, range(4))

    for first in range(10_000, 16_000, 100):
        world.index.apply(unknown.store(*range(first, first + 100)))

    assert world.held("unknown")[DEVICE] == frozenset()
    assert world.held("known") == known.held
    assert world.confidence("known") == EXACT


def test_blocks_come_back_when_there_is_room_for_a_while() -> None:
    """The endpoint is asked for a snapshot then, and is EXACT with it."""
    world = World(TIGHT_BYTES)
    stays, goes = endpoint(world, "stays"), endpoint(world, "goes")
    prompts(stays, world, range(15))
    prompts(goes, world, range(15, 30))
    assert world.confidence("stays") == SHORT

    world.index.drop("goes")
    for passed_s in (0.0, LIFT_AFTER_S / 2, LIFT_AFTER_S):
        world.now_s += passed_s
        world.wanted.clear()
        assert world.confidence("stays")[0] is Confidence.DEGRADED
        world.hear(stays)

    assert world.wanted == ["stays"]
    assert finish(world.index.replace(stays.snapshot()))
    assert world.confidence("stays") == EXACT
    assert world.held("stays") == stays.held


def test_a_snapshot_obeys_the_budget() -> None:
    """One that is larger than the memory is loaded as far as there is room."""
    world = World(TIGHT_BYTES)
    cache = Cache("a")
    prompts(cache, World(), range(60))

    assert finish(world.index.replace(cache.snapshot()))
    world.hear(cache)

    assert world.confidence() == SHORT
    assert world.index.size[1] <= world.index.budget_bytes
    limit = world.index.parts.sources.named("a").limit
    assert world.held()[DEVICE] == {k for k in cache.held[DEVICE] if bucket(cache, k) <= limit}


def test_what_never_fits_at_once_is_given_up() -> None:
    """A delta as large as the whole memory leaves its endpoint with nothing, and others as they
    were."""
    world = World(TIGHT_BYTES)
    other, cache = endpoint(world, "other"), endpoint(world, "a")
    prompts(other, world, range(2))

    world.index.apply(cache.store(*range(1000, 11_000)))

    assert world.held()[DEVICE] == frozenset()
    assert world.confidence() == SHORT
    assert world.held("other") == other.held
    assert world.index.size[1] <= world.index.budget_bytes


def test_a_pool_inherits_everything_again_when_there_is_room_for_a_while() -> None:
    """What it has lost is gone, but it is no reason to lose more."""
    world = World()
    cache = Cache("a", storage_pool="p")
    world.hear(cache)
    (pool,) = world.index.parts.pools.all
    pool.limit = -1

    world.hear(cache)
    assert pool.limit == -1
    world.now_s += LIFT_AFTER_S
    world.hear(cache)

    assert pool.limit == NO_LIMIT
    assert world.confidence() == EXACT
    assert world.wanted == []


def test_more_endpoints_than_a_plane_within_the_budget() -> None:
    """Masks grow wider, tables smaller, and everybody is answered."""
    world = World(12 * BlockTable.bytes_of(MIN_CAPACITY, 1))
    caches = [endpoint(world, f"e{i}") for i in range(100)]
    for i, cache in enumerate(caches):
        prompts(cache, world, [i])
        world.hear(cache)

    assert world.index.size[1] <= world.index.budget_bytes
    for cache in caches:
        held = world.held(cache.endpoint_id)[DEVICE]
        exact = world.confidence(cache.endpoint_id) == EXACT
        assert held == cache.held[DEVICE] if exact else held < cache.held[DEVICE]


@pytest.mark.parametrize("slot", [0, 64])
def test_a_shape_has_room_for_what_it_was_made_for(slot: int) -> None:
    """However much is added at once."""
    table = BlockTable()

    for added in (1, 1000, 3000, 100_000):
        shape = budget.shape_for(table, slot, added)
        assert added <= shape.capacity * budget.GROWN_LOAD or shape.capacity == MIN_CAPACITY
        assert slot < shape.planes * 64
