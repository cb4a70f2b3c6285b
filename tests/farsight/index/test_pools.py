"""Shared storage credits all endpoints that mount it, and outlives those that filled it."""

import pytest

from farsight.errors import InvalidField
from tests.farsight.index.loading import finish
from tests.farsight.index.messages import REMOVE, STORAGE, STORE, Cache, change, key_array
from tests.farsight.index.world import EXACT, UNKNOWN, World


def member(world: World, name: str, pool: str = "nfs:/kv") -> Cache:
    """An endpoint with block 1 on the device that mounts a storage."""
    cache = Cache(name, storage_pool=pool)
    world.hear(cache)
    world.index.apply(cache.store(1))
    return cache


def storage_blocks(world: World, *endpoint_ids: str) -> list[int]:
    """What storage adds to block 1 of the prompt 1, 2, 3."""
    found = world.index.match(key_array(1, 2, 3), endpoint_ids)
    return [int(blocks) for blocks in found.storage_blocks]


def test_members_are_credited_with_what_any_of_them_announced(world: World) -> None:
    """One root, one pool; another root, or none, is credited with nothing of it."""
    first = member(world, "a")
    for name, pool in (("b", "nfs:/kv"), ("c", "nfs:/other"), ("d", "")):
        member(world, name, pool)

    world.index.apply(first.tell(change(STORE, [2, 3], STORAGE)))

    assert storage_blocks(world, "a", "b", "c", "d") == [2, 2, 0, 0]
    assert world.held("b")[STORAGE] == frozenset()


def test_blocks_of_several_members_make_one_prefix(world: World) -> None:
    """It does not matter who wrote which file."""
    first, second = member(world, "a"), member(world, "b")

    world.index.apply(first.tell(change(STORE, [2], STORAGE)))
    world.index.apply(second.tell(change(STORE, [3], STORAGE)))

    assert storage_blocks(world, "a", "b") == [2, 2]


def test_a_removal_by_any_member_is_for_all(world: World) -> None:
    """A file that is gone is gone for everybody, who announced it or not."""
    first, second = member(world, "a"), member(world, "b")
    stranger = member(world, "c", "nfs:/other")
    for cache in (first, second, stranger):
        world.index.apply(cache.tell(change(STORE, [2, 3], STORAGE)))

    world.index.apply(second.tell(change(REMOVE, [3], STORAGE)))

    assert storage_blocks(world, "a", "b", "c") == [1, 1, 2]
    assert world.held("a")[STORAGE] == {2}
    assert world.confidence("a") == EXACT


def test_files_outlive_the_process_that_wrote_them(world: World) -> None:
    """After a restart the pool inherits, also several times; a removal reaches that, too."""
    first = member(world, "a")
    second = member(world, "b")
    for key in (2, 3):
        world.index.apply(first.tell(change(STORE, [key], STORAGE)))
        first.restart()
        world.hear(first)
        world.index.apply(first.store(1))

    assert storage_blocks(world, "a", "b") == [2, 2]
    assert world.held("a")[STORAGE] == frozenset()

    world.index.apply(second.tell(change(REMOVE, [2], STORAGE)))
    assert storage_blocks(world, "a", "b") == [0, 0]


def test_a_pool_inherits_from_those_that_leave_and_goes_with_the_last(world: World) -> None:
    """Endpoints that this replica drops, or that were silent too long."""
    first = member(world, "a")
    member(world, "b")
    world.index.apply(first.tell(change(STORE, [2], STORAGE)))

    world.index.drop("a")
    assert storage_blocks(world, "b") == [1]

    world.index.drop("b")
    member(world, "c")
    assert storage_blocks(world, "c") == [0]
    assert not world.index.parts.slots.is_dirty


def test_a_member_that_mounts_another_root_starts_anew(world: World) -> None:
    """The old pool keeps its files; what lies on the new root is in the next snapshot."""
    first = member(world, "a")
    member(world, "b")
    world.index.apply(first.tell(change(STORE, [2], STORAGE)))

    first.storage_pool = "nfs:/other"
    world.hear(first)

    assert world.confidence("a") == UNKNOWN
    assert world.wanted == ["a"]
    assert storage_blocks(world, "a", "b") == [0, 1]
    assert finish(world.index.replace(first.snapshot()))
    assert world.confidence("a") == EXACT
    assert storage_blocks(world, "a", "b") == [1, 1]


def test_a_pool_is_joined_by_the_first_heartbeat_that_names_it(world: World) -> None:
    """What was announced before counts for the pool from then on."""
    first = Cache("a", storage_pool="nfs:/kv")
    world.index.apply(first.tell(change(STORE, [1]), change(STORE, [2], STORAGE)))
    member(world, "b")

    assert storage_blocks(world, "b") == [0]
    world.hear(first)
    assert storage_blocks(world, "b") == [1]


def test_reports_name_the_pool(world: World) -> None:
    """For status pages."""
    member(world, "a")

    assert [source.storage_pool for source in world.index.report()] == ["nfs:/kv"]


@pytest.mark.parametrize("pool", ["x" * 257, "a\nb"])
def test_impossible_identities_are_refused(world: World, pool: str) -> None:
    """They are bounded and printable."""
    with pytest.raises(InvalidField) as refused:
        world.hear(Cache("a", storage_pool=pool))

    assert refused.value.field == "storage_pool"
