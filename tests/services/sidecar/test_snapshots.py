"""Snapshots in the object store."""

import asyncio
from dataclasses import dataclass, field

import numpy as np
import pytest
from prometheus_client import REGISTRY

from farsight.bus import Bus
from farsight.errors import BusUnavailable
from farsight.keys import unpack
from farsight.pb.events_pb2 import KvSnapshot, KvSnapshotReply, KvSnapshotRequest
from farsight.subjects import KV_BUCKET
from services.sidecar.changes import Tier
from services.sidecar.holding import HeldKeys
from services.sidecar.snapshots import MAX_INLINE_BLOCKS, Contents, Position, Snapshots
from tests.waiting import eventually

FRESH = KvSnapshotRequest(replica_id="i", fresh=True).SerializeToString()


def held(tier: Tier, group: int, *counts: int) -> HeldKeys:
    """Numbered keys, so many at each position."""
    keys = np.arange(1, sum(counts) + 1, dtype=np.uint64) + np.uint64(1000 * tier)
    return HeldKeys(tier, group, keys, np.array(counts, np.int64))


@dataclass
class Source:
    """A mirror as far as snapshots see it; `taken` counts how often its keys were read."""

    epoch: int = 1
    seq: int = 0
    blocks: int = 0
    parts: list[HeldKeys] = field(default_factory=list)
    live: bool = True
    changed_blocks: int = 0
    taken: int = 0

    def position(self) -> Position | None:
        """Where it is."""
        at = Position(self.epoch, self.seq, self.changed_blocks, self.blocks)
        return at if self.live else None

    async def contents(self) -> Contents | None:
        """All of it."""
        self.taken += 1
        position = self.position()
        parts = self.parts or [held(Tier.DEVICE, 0, self.blocks)]
        return None if position is None else Contents(position, parts)

    def change(self, blocks: int) -> None:
        """One delta that stores this many blocks on the device."""
        self.blocks += blocks
        self.seq += 1
        self.changed_blocks += blocks


def snapshots_of(
    bus: Bus, source: Source, *, min_interval_s: float = 0, renew_s: float = 3600
) -> Snapshots:
    """Snapshots of a source, due by age after an hour."""
    return Snapshots(
        bus,
        "pod.1",
        source.position,
        source.contents,
        max_age_s=3600,
        min_interval_s=min_interval_s,
        renew_s=renew_s,
    )


async def load(bus: Bus, answer: bytes) -> tuple[KvSnapshotReply, KvSnapshot]:
    """The snapshot that an answer names."""
    reply = KvSnapshotReply.FromString(answer)
    data = await bus.get_object(KV_BUCKET, reply.object_name, 1 << 24)
    assert data is not None
    return reply, KvSnapshot.FromString(data)


async def test_answers_with_everything_that_is_held(bus: Bus) -> None:
    """Keys by tier and group in the order of their positions, and the delta that they follow."""
    parts = [held(Tier.DEVICE, 0, 2, 0, 1), held(Tier.DEVICE, 1, 1), held(Tier.HOST, 0)]
    source = Source(seq=7, parts=parts)

    reply, snapshot = await load(bus, await snapshots_of(bus, source).answer(b""))

    assert (reply.epoch, reply.seq, snapshot.epoch, snapshot.seq) == (1, 7, 1, 7)
    assert (snapshot.endpoint_id, snapshot.block_count) == ("pod.1", 4)
    found = [
        (part.tier, part.group, unpack(part.keys, "keys").tolist(), list(part.position_counts))
        for part in snapshot.tiers
    ]
    assert found == [(1, 0, [1001, 1002, 1003], [2, 0, 1]), (1, 1, [1001], [1])]


async def test_a_large_mirror_is_packed_beside_the_event_loop(bus: Bus) -> None:
    """The same snapshot, made in a thread."""
    source = Source(seq=1, blocks=MAX_INLINE_BLOCKS + 1)

    _, snapshot = await load(bus, await snapshots_of(bus, source).answer(b""))

    assert snapshot.block_count == MAX_INLINE_BLOCKS + 1


async def test_an_empty_mirror_has_a_snapshot_too(bus: Bus) -> None:
    """A reader must learn that nothing is held."""
    _, snapshot = await load(bus, await snapshots_of(bus, Source()).answer(b""))

    assert (snapshot.epoch, snapshot.block_count, len(snapshot.tiers)) == (1, 0, 0)


async def test_the_last_snapshot_is_used_again_until_something_changes(bus: Bus) -> None:
    """One write serves all who ask at the same position, also at the same time."""
    source = Source(seq=1)
    snapshots = snapshots_of(bus, source)

    answers = await asyncio.gather(*(snapshots.answer(b"") for _ in range(10)))
    assert (len(set(answers)), source.taken) == (1, 1)
    source.change(1)
    reply, snapshot = await load(bus, await snapshots.answer(b""))

    assert (reply.seq, snapshot.seq, source.taken) == (2, 2, 2)
    assert await bus.list_objects(KV_BUCKET) == [reply.object_name]


async def test_requests_cannot_make_it_write_all_the_time(bus: Bus) -> None:
    """Those that come within the least interval wait and share the next snapshot."""
    source = Source(seq=1)
    snapshots = snapshots_of(bus, source, min_interval_s=0.3)
    await snapshots.answer(b"")

    async def ask() -> None:
        source.change(1)
        await snapshots.answer(b"")

    await asyncio.gather(*(ask() for _ in range(5)))

    assert source.taken == 2


async def test_a_fresh_snapshot_is_written_although_nothing_has_changed(bus: Bus) -> None:
    """For a reader that doubts the last one; readers that ask together share it."""
    source = Source(seq=1)
    snapshots = snapshots_of(bus, source, min_interval_s=0.2)
    await snapshots.answer(b"")
    assert source.taken == 1

    answers = await asyncio.gather(*(snapshots.answer(FRESH) for _ in range(10)))
    assert (len(set(answers)), source.taken) == (1, 2)
    await snapshots.answer(b"")
    assert source.taken == 2
    await snapshots.answer(FRESH)
    assert source.taken == 3


async def test_a_fresh_snapshot_is_taken_after_its_request(bus: Bus) -> None:
    """One that is being written when the request comes does not do."""
    source = Source(seq=1, blocks=MAX_INLINE_BLOCKS + 1)
    snapshots = snapshots_of(bus, source)
    first = asyncio.create_task(snapshots.answer(b""))
    await eventually(lambda: source.taken == 1)

    await snapshots.answer(FRESH)

    await first
    assert source.taken == 2


async def test_requests_that_cannot_be_read_are_not_answered(bus: Bus) -> None:
    """And counted."""
    snapshots = snapshots_of(bus, Source(seq=1))
    kind = {"kind": "snapshot-request"}
    counted = REGISTRY.get_sample_value("farsight_bad_records_total", kind) or 0

    for bad in (b"\xff", b"x" * 5000):
        with pytest.raises(BusUnavailable, match="snapshot request"):
            await snapshots.answer(bad)

    assert REGISTRY.get_sample_value("farsight_bad_records_total", kind) == counted + 2


async def test_an_unchanged_snapshot_is_renewed(bus: Bus) -> None:
    """Before its bucket forgets it."""
    source = Source(seq=1)
    running = asyncio.create_task(snapshots_of(bus, source, renew_s=0.1).run())

    await eventually(lambda: source.taken >= 3)

    running.cancel()


async def test_after_forgetting_a_new_one_is_written(bus: Bus) -> None:
    """NATS may have come back without its objects."""
    source = Source(seq=1)
    snapshots = snapshots_of(bus, source)
    await snapshots.answer(b"")
    await bus.purge()

    snapshots.forget()
    _, snapshot = await load(bus, await snapshots.answer(b""))

    assert snapshot.seq == 1


async def test_it_writes_by_itself_when_a_quarter_has_changed(bus: Bus) -> None:
    """Measured against the blocks held, with a floor for small caches."""
    source = Source()
    snapshots = snapshots_of(bus, source)
    source.change(8000)
    await snapshots.answer(b"")
    running = asyncio.create_task(snapshots.run())

    source.change(1500)
    await asyncio.sleep(1.2)
    assert source.taken == 1
    source.change(1500)
    await eventually(lambda: source.taken == 2)
    running.cancel()


async def test_removing_deletes_the_object(bus: Bus) -> None:
    """An endpoint that goes away leaves nothing behind."""
    snapshots = snapshots_of(bus, Source(seq=1))
    await snapshots.answer(b"")

    await snapshots.remove()

    assert await bus.get_object(KV_BUCKET, snapshots.object_name, 1 << 20) is None


async def test_there_is_no_answer_while_the_events_are_being_read(bus: Bus) -> None:
    """A half-built mirror is no snapshot."""
    with pytest.raises(BusUnavailable, match="being read"):
        await snapshots_of(bus, Source(live=False)).answer(b"")
