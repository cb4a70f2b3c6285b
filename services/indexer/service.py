"""The gRPC face of the index."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from farsight import keys as block_keys
from farsight import table
from farsight.errors import InvalidField
from farsight.index.feed import IndexFeed
from farsight.index.match import Confidence
from farsight.index.state import KvIndex
from farsight.keys import pack, unpack
from farsight.pb import index_pb2, index_pb2_grpc
from farsight.runtime import Runtime
from services.indexer import metrics
from services.indexer.settings import IndexerSettings

DUMP_CHUNK_KEYS = 65536
MAX_CANDIDATES = 4096
GAUGE_INTERVAL_S = 1.0
Context = grpc.aio.ServicerContext[Any, Any]


class IndexService(index_pb2_grpc.IndexServicer):
    """Answers Match, Dump and Status from one `KvIndex`."""

    def __init__(self, index: KvIndex, replica_id: str) -> None:
        self._index = index
        self._replica_id = replica_id

    async def Match(
        self, request: index_pb2.MatchRequest, context: Context
    ) -> index_pb2.MatchReply:
        """Longest contiguous prefix per endpoint."""
        if len(request.endpoint_ids) > MAX_CANDIDATES:
            raise InvalidField("endpoint_ids", f"at most {MAX_CANDIDATES}")
        keys = unpack(request.keys, "keys")
        metrics.match_blocks.observe(keys.size)
        found = self._index.match(keys, request.endpoint_ids)
        return index_pb2.MatchReply(
            endpoint_ids=found.endpoint_ids,
            device_blocks=found.device_blocks.tolist(),
            host_blocks=found.host_blocks.tolist(),
            storage_blocks=found.storage_blocks.tolist(),
            age_ms=found.age_ms.tolist(),
            confidence=found.confidence.tolist(),
        )

    async def Dump(
        self, request: index_pb2.DumpRequest, context: Context
    ) -> AsyncIterator[index_pb2.DumpChunk]:
        """All keys of one endpoint, in chunks."""
        epoch, seq, held = self._index.dump(request.endpoint_id)
        for tier, keys in held:
            for start in range(0, keys.size, DUMP_CHUNK_KEYS):
                chunk = pack(keys[start : start + DUMP_CHUNK_KEYS])
                yield index_pb2.DumpChunk(tier=tier, keys=chunk, epoch=epoch, seq=seq)

    async def Status(
        self, request: index_pb2.IndexStatusRequest, context: Context
    ) -> index_pb2.IndexStatusReply:
        """State of every source."""
        distinct, table_bytes = self._index.size
        return index_pb2.IndexStatusReply(
            replica_id=self._replica_id,
            distinct_blocks=distinct,
            table_bytes=table_bytes,
            sources=[
                index_pb2.SourceStatus(
                    endpoint_id=s.endpoint_id,
                    confidence=s.confidence.value,
                    reason=s.reason,
                    epoch=s.epoch,
                    applied_seq=s.applied_seq,
                    announced_seq=s.announced_seq,
                    age_ms=s.age_ms,
                    device_blocks=s.blocks[0],
                    host_blocks=s.blocks[1],
                )
                for s in self._index.report()
            ],
        )


async def _watch_state(index: KvIndex, runtime: Runtime) -> None:
    """Keep the gauges and the readiness current."""
    while True:
        report = index.report()
        for confidence in Confidence:
            count = sum(s.confidence is confidence for s in report)
            metrics.endpoints.labels(confidence.name.lower()).set(count)
        distinct, table_bytes = index.size
        metrics.distinct_blocks.set(distinct)
        metrics.table_bytes.set(table_bytes)
        metrics.lag_deltas.set(sum(max(0, s.announced_seq - s.applied_seq) for s in report))
        runtime.readiness.set("nats", runtime.bus.connected, "waiting for NATS")
        await asyncio.sleep(GAUGE_INTERVAL_S)


async def _follow(feed: IndexFeed, runtime: Runtime) -> None:
    """Make the kernels ready, so that no delta and no request waits for them; then feed."""
    await asyncio.to_thread(block_keys.warm)
    await asyncio.to_thread(table.warm)
    runtime.readiness.set("kernels", True)
    await feed.run()


@asynccontextmanager
async def build(settings: IndexerSettings, runtime: Runtime) -> AsyncIterator[None]:
    """Wire the index to the bus and the server."""
    runtime.readiness.set("nats", False, "waiting for NATS")
    runtime.readiness.set("kernels", False, "compiling")
    feed = IndexFeed(runtime.bus, settings.replica_id)
    index_pb2_grpc.add_IndexServicer_to_server(
        IndexService(feed.index, settings.replica_id), runtime.server
    )
    runtime.expose("farsight.v1.Index")
    runtime.spawn("feed", _follow(feed, runtime))
    runtime.spawn("state", _watch_state(feed.index, runtime))
    yield
