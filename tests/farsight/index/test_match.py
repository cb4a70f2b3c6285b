"""What the index answers: prefixes, dumps, reports."""

import pytest

from farsight.errors import InvalidField
from farsight.index.state import KvIndex
from farsight.pb import types_pb2
from farsight.pb.events_pb2 import KvDelta
from tests.farsight.index.messages import (
    DEVICE,
    HOST,
    STORAGE,
    STORE,
    Cache,
    change,
    key_array,
)
from tests.farsight.index.world import EXACT, World


def test_tiers_continue_each_other(world: World, cache: Cache) -> None:
    """Device first, then host, then storage; blocks of a lower tier may lie between."""
    world.index.apply(cache.tell(change(STORE, [4, 6], HOST), change(STORE, [5, 7], STORAGE)))
    world.index.apply(cache.tell(change(STORE, [8], DEVICE)))

    found = world.index.match(key_array(1, 2, 3, 4, 5, 6, 7, 8, 9), ["a"])

    assert [*found.device_blocks, *found.host_blocks, *found.storage_blocks] == [3, 1, 4]


def test_only_the_endpoints_asked_for_are_answered(world: World, cache: Cache) -> None:
    """In the order of the question; those that are unknown are left out; all without a list."""
    other = Cache("b")
    world.hear(other)
    world.index.apply(other.store(1, 2))

    asked = world.index.match(key_array(1, 2, 3), ["b", "nobody", "a"])
    everyone = world.index.match(key_array(1, 2, 3), [])

    assert asked.endpoint_ids == ("b", "a")
    assert asked.device_blocks.tolist() == [2, 3]
    assert set(everyone.endpoint_ids) == {"a", "b"}
    assert world.index.match(key_array(), ["a"]).device_blocks.tolist() == [0]
    assert KvIndex(lambda: 0.0, print).match(key_array(1), []).endpoint_ids == ()


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


async def test_a_dump_of_a_stranger_names_the_field(world: World) -> None:
    """Which endpoints are known is in the message."""
    with pytest.raises(InvalidField) as refused:
        await world.index.dump("a")

    assert refused.value.field == "endpoint_id"


def test_reports_count_blocks_by_tier(world: World, cache: Cache) -> None:
    """Device, host and storage, with epoch and sequence."""
    world.index.apply(cache.tell(change(STORE, [8, 9], HOST), change(STORE, [9], STORAGE)))

    (report,) = world.index.report()

    assert report.blocks == (3, 2, 1)
    assert (report.epoch, report.applied_seq, report.announced_seq) == (1, 2, 2)
