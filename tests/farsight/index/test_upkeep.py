"""An index that is looked after in the background: nothing waits long, and nothing is lost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest

from farsight.index.match import Confidence
from farsight.index.parts import SLICE_KEYS, Need
from farsight.index.upkeep import IndexUpkeep
from farsight.table import MIN_CAPACITY, PLANE_BITS, BlockTable
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
    key_array,
)
from tests.farsight.index.oracle import places_of
from tests.farsight.index.world import EXACT, World


@pytest.fixture(autouse=True)
def every_table_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small tests take the ways of large tables."""
    monkeypatch.setattr("farsight.index.writing.SMALL_TABLE_SLOTS", 0)


@asynccontextmanager
async def looked_after(world: World) -> AsyncIterator[None]:
    """The index has somebody who looks after it."""
    task = asyncio.create_task(IndexUpkeep(world.index).run())
    await asyncio.sleep(0)
    yield
    task.cancel()
    await asyncio.wait([task])


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    while not holds():  # noqa: ASYNC110 # nobody tells
        await asyncio.sleep(0)


async def settled(world: World, *caches: Cache) -> None:
    """Wait until everything that was sent is applied."""
    for cache in caches:
        world.hear(cache)
    await until(lambda: all(s.applied_seq >= s.announced_seq for s in world.index.report()))
    await until(lambda: not world.index.parts.slots.is_dirty and not world.index.paused)


def check(world: World, *caches: Cache) -> None:
    """Every endpoint is EXACT and holds what its engine holds."""
    world.index.check_integrity()
    for cache in caches:
        slot = world.index.parts.sources.named(cache.endpoint_id).slot
        assert places_of(world.index, slot) == cache.places
        assert world.confidence(cache.endpoint_id) == EXACT


async def test_tables_grow_beside_the_stream(world: World) -> None:
    """Deltas that come while a table is rebuilt wait, are no gap, and are applied after it."""
    cache = Cache("a")
    results = set()
    async with looked_after(world):
        world.hear(cache)
        for first in range(1, 40_000, 500):
            results.add(world.index.apply(cache.store(*range(first, first + 500))))
            await asyncio.sleep(0)
        await settled(world, cache)

    check(world, cache)
    assert results == {"applied", "waiting"}
    assert world.wanted == []


async def test_the_65th_endpoint_waits_for_wider_tables(world: World) -> None:
    """Each of many endpoints has its own blocks in the end."""
    caches = [Cache(f"e{i}") for i in range(130)]
    async with looked_after(world):
        for i, cache in enumerate(caches):
            world.hear(cache)
            world.index.apply(cache.store(1, 100 + i))
        await settled(world, *caches)

    check(world, *caches)


async def test_a_tier_is_cleared_in_slices(world: World) -> None:
    """The endpoint is not EXACT meanwhile, its next deltas wait, others go on."""
    cache, other = Cache("a"), Cache("b")
    async with looked_after(world):
        for one in (cache, other):
            world.hear(one)
            world.index.apply(one.tell(change(STORE, [1, 2]), change(STORE, [3], HOST)))
        first = world.index.apply(cache.tell(change(STORE, [8]), change(CLEAR, tier=DEVICE)))
        second = world.index.apply(cache.tell(change(STORE, [9])))
        world.hear(cache)
        meanwhile = world.confidence("a")
        going_on = world.index.apply(other.store(4))
        await settled(world, cache, other)

    assert (first, second, going_on) == ("waiting", "waiting", "applied")
    assert meanwhile == (Confidence.DEGRADED, "clearing a tier")
    assert cache.held == {DEVICE: {9}, HOST: {3}, STORAGE: frozenset()}
    check(world, cache, other)
    assert world.wanted == []


async def test_clearing_all_that_there_is_takes_no_time(world: World) -> None:
    """The endpoint gets another slot."""
    cache = Cache("a")
    async with looked_after(world):
        world.hear(cache)
        world.index.apply(cache.store(1, 2, 3))
        result = world.index.apply(cache.tell(change(CLEAR, tier=DEVICE)))
        world.hear(cache)
        check(world, cache)
        await settled(world, cache)

    assert result == "applied"
    assert world.index.size[0] == 0


@pytest.mark.parametrize("overtaken_by", ["life", "snapshot"])
async def test_what_overtakes_a_clear_stays(world: World, overtaken_by: str) -> None:
    """Nothing is taken from the slot that the endpoint has by then."""
    cache = Cache("a")
    async with looked_after(world):
        world.hear(cache)
        world.index.apply(cache.tell(change(STORE, [1, 2]), change(STORE, [3], HOST)))
        assert world.index.apply(cache.tell(change(CLEAR, tier=DEVICE))) == "waiting"
        if overtaken_by == "life":
            cache.restart()
            world.hear(cache)
            world.index.apply(cache.store(5))
        else:
            cache.store(5)
            assert await world.index.replace(cache.snapshot())
        await settled(world, cache)

    check(world, cache)


@pytest.mark.parametrize("overtaken_by", ["doubt", "end"])
async def test_an_emptied_slot_is_not_cleared_any_further(world: World, overtaken_by: str) -> None:
    """What is loaded into it, or is another endpoint's by then, stays."""
    table = world.index.parts.tables.find(DEVICE, 0)
    assert table is not None
    table.adopt(table.rebuilt(1 << 20, 1))
    everywhere = range(100, 1 << 18, 1 << 11)  # keys in groups all over the table
    cache, other = Cache("a"), Cache("b")
    async with looked_after(world):
        world.hear(cache)
        slot = world.index.parts.sources.named("a").slot
        world.index.apply(cache.store((1 << 18) - 1))  # met first by a sweep
        cleared = cache.tell(change(CLEAR, tier=DEVICE), change(STORE, everywhere))
        assert world.index.apply(cleared) == "waiting"
        await until(lambda: table.held(slot) == 0)
        if overtaken_by == "doubt":
            world.index.doubt("a", cache.epoch)
            assert await world.index.replace(cache.snapshot())
        else:
            world.index.drop("a")
            cache = other
            world.hear(cache)
            world.index.apply(cache.store(*everywhere))
        assert world.index.parts.sources.named(cache.endpoint_id).slot == slot
        for _ in range(100):
            await asyncio.sleep(0)
        await settled(world, cache)

    check(world, cache)


async def test_a_table_that_has_changed_before_its_rebuild_is_rebuilt_later(world: World) -> None:
    """A dump had the tables first, and a writer came between."""
    cache = Cache("a")
    table = world.index.parts.tables.find(DEVICE, 0)
    assert table is not None
    async with looked_after(world), asyncio.timeout(10):
        world.hear(cache)
        async with world.index.parts.gate.closed():
            world.index.parts.work.need_room(table, Need(0, MIN_CAPACITY, None))
            await asyncio.sleep(0.01)
            table.reserve(PLANE_BITS)
        world.index.apply(cache.store(*range(1, 5000)))
        await settled(world, cache)

    assert table.planes == 2
    check(world, cache)


async def test_a_dump_is_of_one_moment(world: World) -> None:
    """Keys and sequence number belong together, whatever comes while a thread reads."""
    cache = Cache("a")
    async with looked_after(world):
        world.hear(cache)
        world.index.apply(cache.store(*range(1, 2000)))
        dumping = asyncio.create_task(world.index.dump("a"))
        await until(lambda: world.index.paused)
        result = world.index.apply(cache.tell(change(REMOVE, range(1, 1000))))
        dump = await dumping
        await settled(world, cache)

    assert result == "waiting"
    assert dump.seq == 1
    held = {(tier, group): frozenset(keys.tolist()) for tier, group, keys in dump.parts}
    assert held[DEVICE, 0] == cache.history[1, 1][DEVICE, 0]
    check(world, cache)


async def test_nothing_is_swept_while_a_thread_reads(world: World) -> None:
    """A dump of one endpoint meets no deletion of another's blocks."""
    gone = Cache("gone")
    async with looked_after(world):
        world.hear(gone)
        world.index.apply(gone.store(1, 2, 3))
        async with world.index.parts.gate.closed():
            world.index.drop("gone")
            for _ in range(10):
                await asyncio.sleep(0.005)
            while_closed = world.index.size[0]
        await settled(world)

    assert (while_closed, world.index.size[0]) == (3, 0)


async def test_a_pool_inherits_beside_the_stream(world: World) -> None:
    """More than a slice; what is removed meanwhile is removed."""
    first, second = Cache("a", storage_pool="p"), Cache("b", storage_pool="p")
    keys = range(1, 2 * SLICE_KEYS + 1)
    async with looked_after(world):
        for cache in (first, second):
            world.hear(cache)
        world.index.apply(first.tell(change(STORE, keys, STORAGE)))
        await settled(world, first)
        first.restart()
        world.hear(first)
        world.index.apply(second.tell(change(REMOVE, [keys[-1]], STORAGE)))
        await settled(world, first, second)
        await until(lambda: not world.index.parts.pools.all[0].legacies)
        await settled(world, first, second)

    found = world.index.match(key_array(*keys), ["a", "b"])
    assert found.storage_blocks.tolist() == [len(keys) - 1] * 2
    assert world.held("a")[STORAGE] == frozenset()


async def test_the_budget_is_kept_beside_the_stream() -> None:
    """Trimmed in threads and slices, endpoints keep the beginnings of their prompts."""
    world = World(3 * BlockTable.bytes_of(MIN_CAPACITY, 1))
    small, large = Cache("small"), Cache("large")
    async with looked_after(world):
        for cache in (small, large):
            world.hear(cache)
        world.index.apply(small.tell(change(STORE, range(1, 9), spans=[0, 8])))
        for number in range(1, 60):
            keys = range(number * 100, number * 100 + 100)
            world.index.apply(large.tell(change(STORE, keys, spans=[0, 100])))
            assert world.index.size[1] <= world.index.budget_bytes
            await asyncio.sleep(0)
        await settled(world, small, large)

    check(world, small)
    assert world.confidence("large") == (Confidence.DEGRADED, "index-budget")
    found = world.index.match(key_array(*range(500, 600)), ["large"]).device_blocks
    assert 0 < found[0] < 100
    assert world.wanted == []


async def test_a_busy_index_is_not_exact_for_long_and_asks_for_nothing(world: World) -> None:
    """A pause that outlasts the grace is told, and no snapshot would help."""
    cache = Cache("a")
    world.hear(cache)
    async with world.index.parts.gate.closed():
        assert world.index.apply(cache.store(1)) == "waiting"
        world.hear(cache)
        at_first = world.confidence()
        world.now_s += 1.0
        world.hear(cache)
        later = world.confidence()
    world.hear(cache)

    assert at_first == EXACT
    assert later == (Confidence.DEGRADED, "index busy")
    assert world.wanted == []
    check(world, cache)


async def test_a_random_fleet_is_exact_after_quiet(world: World) -> None:
    """Every kind of change, restarts and snapshots, while tables are rebuilt and swept."""
    random = Random(7)
    caches = [Cache(f"e{i}") for i in range(70)]
    async with looked_after(world):
        for _ in range(600):
            cache = random.choice(caches)
            if cache.seq == 0 or random.random() < 0.02:
                cache.restart()
                world.hear(cache)
            keys = random.sample(range(1, 60_000), random.randint(1, 300))
            tier = random.choice([DEVICE, HOST])
            clears = [change(CLEAR, tier=tier)] if random.random() < 0.1 else []
            world.index.apply(cache.tell(change(REMOVE, keys[:50], tier), *clears))
            world.index.apply(cache.tell(change(STORE, keys, tier)))
            if random.random() < 0.05:
                cache.store(1)  # and this one is lost
                world.hear(cache)
                await world.index.replace(cache.snapshot())
            await asyncio.sleep(0)
        await settled(world, *caches)

    check(world, *caches)


def test_deltas_go_on_while_a_load_waits_for_the_tables(world: World) -> None:
    """A pause in the middle of a load holds up both, and both are right after it."""
    cache = Cache("a")
    cache.store(*range(1, 9000))
    load = world.index.replace(cache.snapshot())
    step(load)
    pause = world.index.parts.gate.closed()
    finish(pause.__aenter__())
    for key in (9001, 9002):
        step(load)
        world.index.apply(cache.store(key))
        world.hear(cache)
    finish(pause.__aexit__(None, None, None))

    assert finish(load)
    check(world, cache)
