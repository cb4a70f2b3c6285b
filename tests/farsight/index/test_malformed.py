"""Messages that are refused, and bounds."""

import pytest

from farsight.errors import InvalidField
from farsight.index.match import Confidence
from farsight.pb import types_pb2
from farsight.pb.events_pb2 import KvDelta, KvSnapshot, Load, TierKeys
from tests.farsight.index.loading import finish
from tests.farsight.index.messages import (
    DEVICE,
    STORE,
    Cache,
    change,
)
from tests.farsight.index.world import EXACT, World


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
    monkeypatch.setattr("farsight.index.sources.MAX_ENDPOINTS", 2)
    for name in "ab":
        world.hear(Cache(name))
    with pytest.raises(InvalidField, match="at most 2"):
        world.hear(Cache("c"))

    monkeypatch.setattr("farsight.index.pending.MAX_BYTES", 8192)
    for seq in range(2, 100):
        world.index.apply(KvDelta(endpoint_id="a", epoch=1, seq=seq))
    source = world.index.parts.sources.named("a")
    kept = 8192 // 256 * 7 // 8
    assert source.pending.size_bytes <= 8192
    reaching, short = (KvSnapshot(endpoint_id="a", epoch=1, seq=99 - n) for n in (kept, kept + 4))

    assert not finish(world.index.replace(short))
    assert world.confidence()[0] is Confidence.DEGRADED
    assert finish(world.index.replace(reaching))
    assert world.confidence() == EXACT
