"""Scripted sidecars and indexer replicas, registered and reachable, for `farsight index`."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc.aio

from farsight import discovery, subjects
from farsight.bus import Bus
from farsight.errors import InvalidField
from farsight.etcd import Etcd
from farsight.keys import unpack
from farsight.pb import index_pb2, index_pb2_grpc, types_pb2
from farsight.pb.events_pb2 import KvDelta, KvSnapshot, KvSnapshotReply, KvSnapshotRequest
from farsight.pb.records_pb2 import ServiceRecord
from farsight.server import Server
from tests.farsight.cli.fleet import endpoint_record, serving
from tests.farsight.index.messages import Cache, packed

Context = grpc.aio.ServicerContext[Any, Any]


class Sidecar:
    """Tells of a cache over NATS, and stores it when it is asked."""

    def __init__(self, bus: Bus, endpoint_id: str = "e0") -> None:
        self.cache = Cache(endpoint_id)
        self.asked: list[KvSnapshotRequest] = []
        self._bus = bus

    async def send(self, delta: KvDelta) -> None:
        """A delta, and the heartbeat that announces it."""
        name = self.cache.endpoint_id
        await self._bus.publish(subjects.delta(name), delta.SerializeToString())
        await self._bus.publish(subjects.load(name), self.cache.heartbeat().SerializeToString())

    async def answer(self, request: bytes) -> bytes:
        """The cache as it is now."""
        self.asked.append(KvSnapshotRequest.FromString(request))
        snapshot = self.cache.snapshot()
        name = subjects.token(self.cache.endpoint_id)
        await self._bus.put_object(subjects.KV_BUCKET, name, snapshot.SerializeToString())
        reply = KvSnapshotReply(object_name=name, epoch=snapshot.epoch, seq=snapshot.seq)
        return reply.SerializeToString()

    @asynccontextmanager
    async def alive(self) -> AsyncIterator["Sidecar"]:
        """Answers."""
        served = self._bus.serve(subjects.snapshot(self.cache.endpoint_id), self.answer)
        await asyncio.sleep(0)
        await self._bus.flush()
        try:
            yield self
        finally:
            await served.close()

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Blocks come and go all the time."""

        async def flow() -> None:
            while True:
                at = self.cache.seq + 100
                await self.send(self.cache.store(at, at + 1_000_000))
                await asyncio.sleep(0.002)

        flowing = asyncio.create_task(flow())
        try:
            yield
        finally:
            flowing.cancel()
            with suppress(asyncio.CancelledError):
                await flowing


class Replica(index_pb2_grpc.IndexServicer):
    """An indexer replica that knows one cache, but for the keys that it has lost."""

    def __init__(self, cache: Cache, lost: Collection[int] = (), storage_pool: str = "") -> None:
        self.cache = cache
        self.lost = frozenset(lost)
        self.storage_pool = storage_pool
        self.stuck: KvSnapshot | None = None
        """What it knows for ever."""
        self.is_known = True

    @property
    def known(self) -> KvSnapshot:
        """What it has heard of the cache."""
        return self.stuck or self.cache.snapshot()

    async def Status(
        self, request: index_pb2.IndexStatusRequest, context: Context
    ) -> index_pb2.IndexStatusReply:
        """One EXACT source."""
        known = self.known
        source = index_pb2.SourceStatus(
            endpoint_id=known.endpoint_id,
            confidence=types_pb2.CONFIDENCE_EXACT,
            epoch=known.epoch,
            applied_seq=known.seq,
            storage_pool=self.storage_pool,
        )
        return index_pb2.IndexStatusReply(sources=[source] if self.is_known else [])

    async def Dump(
        self, request: index_pb2.DumpRequest, context: Context
    ) -> AsyncIterator[index_pb2.DumpChunk]:
        """A chunk for each tier and group that holds something."""
        known = self.known
        if request.endpoint_id != known.endpoint_id:
            raise InvalidField("endpoint_id", known.endpoint_id)
        for tier in known.tiers:
            keys = [key for key in unpack(tier.keys, "keys").tolist() if key not in self.lost]
            yield index_pb2.DumpChunk(
                tier=tier.tier,
                group=tier.group,
                keys=packed(keys),
                epoch=known.epoch,
                seq=known.seq,
            )

    async def Match(
        self, request: index_pb2.MatchRequest, context: Context
    ) -> index_pb2.MatchReply:
        """The command does not ask this."""
        raise NotImplementedError


@asynccontextmanager
async def indexer(
    etcd: Etcd, replica: Replica, name: str = "indexer-0", copies: int = 0
) -> AsyncIterator[Server]:
    """The replica, served and registered."""
    server = Server("127.0.0.1:0")
    index_pb2_grpc.add_IndexServicer_to_server(replica, server.grpc)
    async with serving(server) as address:
        record = ServiceRecord(
            kind="indexer", replica_id=name, address=address, ready=True, index_copies=copies
        )
        key = discovery.service_key("indexer", name)
        await etcd.put(key, discovery.encode_record(record))
        yield server


async def offer(etcd: Etcd, endpoint_id: str = "e0") -> None:
    """Register the endpoint."""
    await etcd.put(discovery.endpoint_key(endpoint_id), endpoint_record(endpoint_id))
