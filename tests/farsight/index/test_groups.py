"""Engines that keep their cache in several KV groups, each with a rule for prefixes."""

from collections.abc import Sequence

import pytest

from farsight.errors import InvalidField
from farsight.index.wire import MAX_GROUPS, MAX_WINDOW_BLOCKS
from farsight.pb.events_pb2 import KvDelta, KvGroup
from tests.farsight.index.loading import finish
from tests.farsight.index.messages import (
    CHECKPOINT,
    CLEAR,
    DEVICE,
    HOST,
    STORAGE,
    STORE,
    SUFFIX,
    Cache,
    change,
    key_array,
    rule_of,
)
from tests.farsight.index.world import EXACT, World

PROMPT = range(1, 9)


def blocks(world: World, endpoint_id: str = "a") -> list[int]:
    """Device, host and storage blocks of the prompt 1 to 8."""
    found = world.index.match(key_array(*PROMPT), [endpoint_id])
    return [*found.device_blocks, *found.host_blocks, *found.storage_blocks]


def hybrid(world: World, *groups: KvGroup, name: str = "a", has_prefix_group: bool = True) -> Cache:
    """An endpoint whose engine has further KV groups."""
    cache = Cache(name, groups=groups, has_prefix_group=has_prefix_group)
    world.hear(cache)
    return cache


def test_a_window_asks_for_the_last_blocks_only(world: World) -> None:
    """Group 0 holds 1 to 8; the window of two blocks is whole at 6 and nowhere later."""
    cache = hybrid(world, rule_of(1, SUFFIX, 2))

    world.index.apply(
        cache.tell(change(STORE, PROMPT), change(STORE, [2, 3, 5, 6, 8], DEVICE, group=1))
    )

    assert blocks(world) == [6, 0, 0]
    assert world.confidence() == EXACT


def test_a_recurrent_group_asks_for_a_checkpoint(world: World) -> None:
    """The longest prefix that ends at a block whose state was kept, and that every group allows."""
    cache = hybrid(world, rule_of(1, SUFFIX, 2), rule_of(2, CHECKPOINT))
    window = change(STORE, PROMPT, DEVICE, group=1)

    world.index.apply(
        cache.tell(change(STORE, PROMPT[:7]), window, change(STORE, [3, 5, 8], DEVICE, group=2))
    )

    assert blocks(world) == [5, 0, 0]


def test_an_engine_may_have_no_group_that_needs_every_block(world: World) -> None:
    """Group 0 is empty then and asks for nothing."""
    cache = hybrid(world, rule_of(3, SUFFIX, 2), has_prefix_group=False)

    world.index.apply(cache.tell(change(STORE, [6, 7], DEVICE, group=3)))

    assert blocks(world) == [7, 0, 0]


def test_lower_tiers_complete_each_group(world: World) -> None:
    """A group's window may lie on the device and group 0 in host memory, and so on."""
    cache = hybrid(world, rule_of(1, SUFFIX, 2))
    on_device = change(STORE, [1, 2, 3]), change(STORE, [1, 2], DEVICE, group=1)
    on_host = change(STORE, [4, 5], HOST), change(STORE, [4, 5], HOST, group=1)
    on_storage = change(STORE, [6], STORAGE), change(STORE, [6], STORAGE, group=1)

    world.index.apply(cache.tell(*on_device, *on_host, *on_storage))

    assert blocks(world) == [2, 3, 1]


def test_endpoints_of_one_group_are_answered_as_ever(world: World) -> None:
    """Beside hybrid ones, on the same blocks."""
    plain, cache = hybrid(world, name="plain"), hybrid(world, rule_of(1, CHECKPOINT), name="b")

    world.index.apply(plain.store(*PROMPT))
    world.index.apply(cache.tell(change(STORE, PROMPT), change(STORE, [4], DEVICE, group=1)))

    assert blocks(world, "plain") == [8, 0, 0]
    assert blocks(world, "b") == [4, 0, 0]


def test_a_group_that_was_told_later_counts_from_then_on(world: World) -> None:
    """The layout is that of the last heartbeat; blocks of every group are kept at all times."""
    cache = hybrid(world)
    world.index.apply(cache.tell(change(STORE, PROMPT), change(STORE, [4], DEVICE, group=1)))
    as_plain = blocks(world)

    cache.groups = [rule_of(1, CHECKPOINT)]
    world.hear(cache)
    assert (as_plain, blocks(world)) == ([8, 0, 0], [4, 0, 0])

    cache.groups = []
    world.hear(cache)
    assert blocks(world) == [8, 0, 0]


def test_clearing_a_tier_clears_all_of_its_groups(world: World) -> None:
    """And nothing else."""
    cache = hybrid(world, rule_of(1, SUFFIX, 2))
    world.index.apply(cache.tell(change(STORE, [1]), change(STORE, [1], DEVICE, group=1)))
    world.index.apply(cache.tell(change(STORE, [2], HOST, group=1), change(CLEAR, tier=DEVICE)))

    assert world.held()[DEVICE] == frozenset()
    assert world.held(group=1) == {HOST: {2}}


def test_snapshots_and_dumps_have_groups(world: World) -> None:
    """A snapshot brings every group, a dump tells of every group."""
    cache = hybrid(world, rule_of(1, SUFFIX, 2))
    cache.tell(change(STORE, [1, 2]), change(STORE, [2], DEVICE, group=1))

    assert finish(world.index.replace(cache.snapshot()))

    parts = finish(world.index.dump("a")).parts
    held = {(tier, group): sorted(keys.tolist()) for tier, group, keys in parts if keys.size}
    assert held == {(DEVICE, 0): [1, 2], (DEVICE, 1): [2]}
    assert world.index.report()[0].blocks == (3, 0, 0)


def test_groups_are_bounded(world: World, cache: Cache) -> None:
    """No table is made for a group that cannot be."""
    for group in (MAX_GROUPS, 2**32 - 1):
        bad = change(STORE, [9], DEVICE, group=group)
        with pytest.raises(InvalidField, match="group"):
            world.index.apply(KvDelta(endpoint_id="a", epoch=1, seq=2, changes=[bad]))

    assert len(world.index.parts.tables.all) == 3


@pytest.mark.parametrize(
    ("groups", "has_prefix_group"),
    [
        ([rule_of(0, SUFFIX, 1)], True),
        ([rule_of(MAX_GROUPS, SUFFIX, 1)], True),
        ([rule_of(1, SUFFIX, MAX_WINDOW_BLOCKS + 1)], True),
        ([rule_of(1, 0)], True),  # type: ignore[arg-type] # a rule that is not set
        ([rule_of(1, 9)], True),  # type: ignore[arg-type] # a rule that we do not know
        ([rule_of(1, CHECKPOINT), rule_of(1, CHECKPOINT)], True),
        ([], False),
    ],
    ids=["group 0", "far group", "window", "no rule", "unknown rule", "twice", "nothing at all"],
)
def test_impossible_layouts_are_refused(
    world: World, groups: Sequence[KvGroup], has_prefix_group: bool
) -> None:
    """A heartbeat whose groups we cannot follow makes no source."""
    with pytest.raises(InvalidField, match="kv_groups"):
        world.hear(Cache("a", groups=groups, has_prefix_group=has_prefix_group))

    assert world.index.report() == []
