"""Scripted sidecars on a real NATS, and an index that listens to them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from farsight import subjects
from farsight.bus import Bus
from farsight.index.feed import IndexFeed
from farsight.index.match import Confidence
from farsight.index.shards import Share
from farsight.pb.events_pb2 import KvDelta, KvSnapshotReply, KvSnapshotRequest
from tests.farsight.index.messages import Cache

HEARTBEAT_S = 0.05


class Sidecar:
    """A cache that is told of over NATS."""

    def __init__(self, bus: Bus, endpoint_id: str = "a") -> None:
        self._bus = bus
        self.cache = Cache(endpoint_id)
        self.asked_by: list[str] = []
        self.was_fresh = False
        self.subject = subjects.delta(endpoint_id)

    async def send(self, delta: KvDelta) -> None:
        """Publish a delta."""
        assert await self._bus.publish(self.subject, delta.SerializeToString())

    async def heartbeat(self) -> None:
        """Publish a load message."""
        name = self.cache.endpoint_id
        await self._bus.publish(subjects.load(name), self.cache.heartbeat().SerializeToString())

    async def store_snapshot(self) -> KvSnapshotReply:
        """Put the whole cache into the object store."""
        snapshot = self.cache.snapshot()
        name = subjects.token(self.cache.endpoint_id)
        await self._bus.put_object(subjects.KV_BUCKET, name, snapshot.SerializeToString())
        return KvSnapshotReply(object_name=name, epoch=snapshot.epoch, seq=snapshot.seq)

    async def answer(self, request: bytes) -> bytes:
        """A snapshot for whom asks."""
        asked = KvSnapshotRequest.FromString(request)
        self.asked_by.append(asked.replica_id)
        self.was_fresh = asked.fresh
        return (await self.store_snapshot()).SerializeToString()

    async def beat(self) -> None:
        """Heartbeats for ever."""
        while True:
            await self.heartbeat()
            await asyncio.sleep(HEARTBEAT_S)

    @contextlib.asynccontextmanager
    async def alive(self) -> AsyncIterator["Sidecar"]:
        """Beats and answers."""
        served = self._bus.serve(subjects.snapshot(self.cache.endpoint_id), self.answer)
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(self.beat())
            try:
                yield self
            finally:
                beating.cancel()
                await served.close()


@contextlib.asynccontextmanager
async def feeding(
    nats_url: str, replica_id: str = "indexer-1", share: Share | None = None, grace_s: float = 10
) -> AsyncIterator[IndexFeed]:
    """An index of its own connection, already subscribed."""
    bus = Bus(nats_url)
    feed = IndexFeed(bus, replica_id, share=share, grace_s=grace_s)
    running = asyncio.create_task(feed.run())
    await asyncio.sleep(0)
    await bus.run()
    await bus.flush()
    try:
        yield feed
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await bus.close()


def agrees(feed: IndexFeed, cache: Cache) -> bool:
    """The index holds what the endpoint holds."""
    parts = feed.index.parts
    source = parts.sources.find(cache.endpoint_id)
    if source is None or (source.epoch, source.applied_seq) != (cache.epoch, cache.seq):
        return False
    held = parts.tables.keys_of(source.slot)
    return {tier: frozenset(keys.tolist()) for tier, _, keys in held} == cache.held


def is_exact(feed: IndexFeed, cache: Cache) -> bool:
    """It does, and says so."""
    states = {s.endpoint_id: s.confidence for s in feed.index.report()}
    return states.get(cache.endpoint_id) is Confidence.EXACT and agrees(feed, cache)
