"""The gRPC face of the index."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from farsight import discovery
from farsight import keys as block_keys
from farsight.errors import InvalidField
from farsight.index import state
from farsight.index.feed import IndexFeed
from farsight.index.match import Confidence
from farsight.index.shards import Share
from farsight.index.state import KvIndex
from farsight.keys import pack, unpack
from farsight.pb import index_pb2, index_pb2_grpc
from farsight.runtime import Runtime, settle_heap
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
        """Longest usable prefix per endpoint."""
        endpoint_ids = tuple(request.endpoint_ids)
        if len(endpoint_ids) > MAX_CANDIDATES:
            raise InvalidField("endpoint_ids", f"at most {MAX_CANDIDATES}")
        keys = unpack(request.keys, "keys")
        metrics.match_blocks.observe(keys.size)
        found = self._index.match(keys, endpoint_ids)
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
        """All keys of one endpoint, in chunks; one without keys when there are none."""
        dump = await self._index.dump(request.endpoint_id)
        held = [part for part in dump.parts if part[2].size] or dump.parts[:1]
        for tier, group, keys in held:
            for start in range(0, max(keys.size, 1), DUMP_CHUNK_KEYS):
                yield index_pb2.DumpChunk(
                    tier=tier,
                    group=group,
                    keys=pack(keys[start : start + DUMP_CHUNK_KEYS]),
                    epoch=dump.epoch,
                    seq=dump.seq,
                )

    async def Status(
        self, request: index_pb2.IndexStatusRequest, context: Context
    ) -> index_pb2.IndexStatusReply:
        """State of every source."""
        distinct, table_bytes = self._index.size
        return index_pb2.IndexStatusReply(
            replica_id=self._replica_id,
            distinct_blocks=distinct,
            table_bytes=table_bytes,
            budget_bytes=self._index.budget_bytes,
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
                    storage_blocks=s.blocks[2],
                    storage_pool=s.storage_pool,
                )
                for s in self._index.report()
            ],
        )


async def _watch_state(index: KvIndex, runtime: Runtime) -> None:
    """Keep the gauges and the readiness current."""
    metrics.budget_bytes.set(index.budget_bytes)
    while True:
        report = index.report()
        metrics.held_endpoints.set(len(report))
        for confidence in Confidence:
            count = sum(s.confidence is confidence for s in report)
            metrics.endpoints.labels(confidence.name.lower()).set(count)
        for tier, held in enumerate(metrics.held_blocks):
            held.set(sum(s.blocks[tier] for s in report))
        distinct, table_bytes = index.size
        metrics.distinct_blocks.set(distinct)
        metrics.table_bytes.set(table_bytes)
        metrics.lag_deltas.set(sum(max(0, s.announced_seq - s.applied_seq) for s in report))
        runtime.readiness.set("nats", runtime.bus.connected, "waiting for NATS")
        await asyncio.sleep(GAUGE_INTERVAL_S)


async def _follow_indexers(share: Share, runtime: Runtime) -> None:
    """Keep the share current; there is none before the other indexers are known."""
    runtime.readiness.set("indexers", False, "waiting for etcd")

    def on_indexers(values: Mapping[str, bytes]) -> None:
        share.update(values)
        runtime.readiness.set("indexers", True)

    await runtime.etcd.watch(discovery.INDEXERS_PREFIX, on_indexers)


async def _follow(feed: IndexFeed, runtime: Runtime) -> None:
    """Make the kernels ready, so that no delta and no request waits for them; then feed."""
    await asyncio.to_thread(block_keys.warm)
    await asyncio.to_thread(state.warm)
    settle_heap()
    runtime.readiness.set("kernels", True)
    await feed.run()


@asynccontextmanager
async def build(settings: IndexerSettings, runtime: Runtime) -> AsyncIterator[None]:
    """Wire the index to the bus and the server."""
    runtime.readiness.set("nats", False, "waiting for NATS")
    runtime.readiness.set("kernels", False, "compiling")
    runtime.index_copies = settings.index_copies
    share = Share(settings.replica_id, settings.index_copies, time.monotonic)
    feed = IndexFeed(
        runtime.bus,
        settings.replica_id,
        budget_bytes=settings.memory_budget_mb << 20,
        share=share,
        grace_s=settings.handover_s,
    )
    index_pb2_grpc.add_IndexServicer_to_server(
        IndexService(feed.index, settings.replica_id), runtime.server
    )
    runtime.expose("farsight.v1.Index")
    if not share.is_whole:
        runtime.spawn("indexers", _follow_indexers(share, runtime))
    runtime.spawn("feed", _follow(feed, runtime))
    runtime.spawn("state", _watch_state(feed.index, runtime))
    yield
