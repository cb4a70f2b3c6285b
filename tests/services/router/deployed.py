"""Real services in this process: a router or an indexer over real etcd and NATS."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import grpc
import grpc.aio
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from farsight import subjects
from farsight.bus import Bus
from farsight.discovery import encode_record, endpoint_key
from farsight.etcd import Etcd
from farsight.keys import chain, pack, seed_of
from farsight.pb import types_pb2
from farsight.pb.events_pb2 import KvChange, KvDelta, Load
from farsight.pb.records_pb2 import EndpointRecord
from farsight.pb.router_pb2 import Finished, ReportEvent, RouteReply
from farsight.runtime import Runtime
from services.indexer.service import build as build_indexer
from services.indexer.settings import IndexerSettings
from services.router.service import build as build_router
from services.router.settings import RouterSettings
from tests.services.running import running


def router(
    etcd_url: str, nats_url: str, replica_id: str = "r1", **settings: object
) -> AbstractAsyncContextManager[Runtime]:
    """A router replica."""
    given = {"etcd": etcd_url, "nats": nats_url, "replica_id": replica_id, "drain_s": 5}
    made = RouterSettings.model_validate(given | {"predictor_budget_ms": 500} | settings)
    return running("router", made, build_router)


def indexer(etcd_url: str, nats_url: str) -> AbstractAsyncContextManager[Runtime]:
    """An indexer replica."""
    made = IndexerSettings.model_validate(
        {"etcd": etcd_url, "nats": nats_url, "replica_id": "i1", "drain_s": 1}
    )
    return running("indexer", made, build_indexer)


class Sidecars:
    """Speaks for endpoints the way their sidecars would."""

    def __init__(self, etcd: Etcd, bus: Bus) -> None:
        self._etcd = etcd
        self._bus = bus
        self._seq: dict[str, int] = {}

    async def join(self, record: EndpointRecord) -> None:
        """Write the record."""
        await self._etcd.put(endpoint_key(record.endpoint_id), encode_record(record))

    async def leave(self, endpoint_id: str) -> None:
        """Delete the record."""
        await self._etcd.delete(endpoint_key(endpoint_id))

    async def store(self, endpoint_id: str, tokens: Sequence[int], model: str = "m") -> None:
        """The engine holds the blocks of a prompt on its device."""
        keys = chain(seed_of(model, "", 16), np.array(tokens, np.uint32), 16)
        seq = self._seq[endpoint_id] = self._seq.get(endpoint_id, 0) + 1
        change = KvChange(action=KvChange.ACTION_STORE, tier=types_pb2.TIER_DEVICE, keys=pack(keys))
        delta = KvDelta(endpoint_id=endpoint_id, epoch=1, seq=seq, changes=[change])
        await self._bus.publish(subjects.delta(endpoint_id), delta.SerializeToString())

    async def beat(self, *endpoint_ids: str) -> None:
        """Say how it goes, once."""
        for endpoint_id in endpoint_ids:
            load = Load(
                endpoint_id=endpoint_id,
                epoch=1,
                kv_seq=self._seq.get(endpoint_id, 0),
                kv_confidence=types_pb2.CONFIDENCE_EXACT,
                running_requests=1,
            )
            await self._bus.publish(subjects.load(endpoint_id), load.SerializeToString())


async def ready(channel: grpc.aio.Channel) -> None:
    """Wait until health says SERVING."""
    async with asyncio.timeout(15):
        while True:
            try:
                if await health(channel) == health_pb2.HealthCheckResponse.SERVING:
                    return
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017
            await asyncio.sleep(0.02)


async def health(channel: grpc.aio.Channel) -> int:
    """What the router says of its own health."""
    check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined] # its stubs
    return int((await check(health_pb2.HealthCheckRequest(service="farsight.v1.Router"))).status)


def finished(reply: RouteReply, **fields: object) -> ReportEvent:
    """The end of a request."""
    end = Finished(status=Finished.STATUS_COMPLETED, **fields)  # type: ignore[arg-type] # by name
    return ReportEvent(
        decision_id=reply.decision_id, endpoint_id=reply.endpoint.endpoint_id, finished=end
    )
