"""The gRPC face of the router, and how its parts are wired."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import grpc.aio
from google.protobuf.message import DecodeError

from farsight import discovery, keys, subjects
from farsight import metrics as shared_metrics
from farsight.index import state
from farsight.index.feed import IndexFeed
from farsight.index.local import LocalIndex
from farsight.index.match import IndexReader
from farsight.index.remote import RemoteIndex
from farsight.latency.remote import RemotePredictor
from farsight.log import request_id
from farsight.pb import router_pb2_grpc
from farsight.pb.events_pb2 import InFlightDelta
from farsight.pb.predictor_pb2_grpc import PredictorStub
from farsight.pb.router_pb2 import (
    ReportEvent,
    ReportSummary,
    RouteReply,
    RouteRequest,
    RouterStatusReply,
    RouterStatusRequest,
)
from farsight.replicas import ReplicaPool
from farsight.runtime import Runtime, settle_heap
from services.router import metrics, speculative
from services.router.approximate import ApproximateMemory
from services.router.audit import Audit
from services.router.fleet import Fleet
from services.router.forecast import Forecaster
from services.router.outcomes import Outcomes, now_unix_ms
from services.router.output_lengths import OutputLengths
from services.router.prefixes import PrefixLookup
from services.router.profiles import Profiles
from services.router.prompts import Prompts
from services.router.reservations import Reservations
from services.router.route import RequestRouter, RouterParts
from services.router.routed import RoutedPrompts
from services.router.samples import SampleSender
from services.router.settings import RouterSettings
from services.router.speculative import SpeculativePrompts
from services.router.status import router_status
from services.router.tokenizers import Tokenizers
from services.router.wire import decode_call, encode_reply

Context = grpc.aio.ServicerContext[Any, Any]
ANNOUNCE_S = 0.02
ANNOUNCE_ALL_S = 1.0
GAUGES_PER_TURN = 200
MAX_INFLIGHT_BYTES = 1 << 20


class RouterService(router_pb2_grpc.RouterServicer):
    """Answers Route, Report and Status."""

    def __init__(self, parts: RouterParts, settings: RouterSettings) -> None:
        self._parts = parts
        self._settings = settings
        self._router = RequestRouter(parts)
        self._streams: set[asyncio.Task[Any]] = set()
        self._over = False

    async def Route(self, request: RouteRequest, context: Context) -> RouteReply:
        """Decide and reserve."""
        arrived_s = self._parts.clock()
        request_id.set(request.request_id or request_id.get())
        call = decode_call(request, self._settings.max_prompt_bytes)
        decision = await self._router.route(call, arrived_s)
        return encode_reply(decision, request.explain, request.return_token_ids)

    async def Report(
        self, request_iterator: AsyncIterator[ReportEvent], context: Context
    ) -> ReportSummary:
        """Take what became of decisions."""
        summary = ReportSummary()
        stream = asyncio.current_task()
        assert stream is not None, "gRPC runs each call in a task"
        self._streams.add(stream)
        try:
            async for event in request_iterator:
                summary.events += 1
                summary.unknown_decisions += not self._parts.outcomes.take(event)
        except asyncio.CancelledError:
            if not self._over:
                raise
            stream.uncancel()
        finally:
            self._streams.discard(stream)
        return summary

    async def end_reports(self, stopping: asyncio.Event) -> None:
        """When this replica stops: take reports until no decision is open, then end the streams.

        Clients keep a stream open for as long as they live; the server would wait for them.
        """
        await stopping.wait()
        await self._parts.outcomes.all_ended()
        self._over = True
        for stream in self._streams:
            stream.cancel()

    async def Status(self, request: RouterStatusRequest, context: Context) -> RouterStatusReply:
        """What this replica sees and did."""
        return router_status(self._settings.replica_id, self._parts, self._router.decisions)


def _follow_replicas(kind: str, replicas: ReplicaPool[Any] | RemoteIndex, runtime: Runtime) -> None:
    prefix = f"{discovery.SERVICES_PREFIX}{kind}/"
    runtime.spawn(f"watch-{kind}", runtime.etcd.watch(prefix, replicas.update))


async def _feed(feed: IndexFeed) -> None:
    """Feed an embedded index when its kernels are ready, so that no message waits for them."""
    await asyncio.to_thread(state.warm)
    await feed.run()


def _index(settings: RouterSettings, runtime: Runtime) -> IndexReader:
    """The indexers, or a read replica that is fed by the same snapshots and deltas."""
    if settings.index == "embedded":
        feed = IndexFeed(runtime.bus, settings.replica_id)
        runtime.spawn("index", _feed(feed))
        return LocalIndex(feed.index)
    indexers = RemoteIndex(settings.index_budget_ms / 1000)
    _follow_replicas("indexer", indexers, runtime)
    return indexers


def _parts(settings: RouterSettings, runtime: Runtime) -> tuple[RouterParts, SampleSender]:
    predictors = ReplicaPool(PredictorStub)
    _follow_replicas("predictor", predictors, runtime)
    fleet = Fleet(settings.inhibit_s)
    routed = RoutedPrompts(
        settings.replica_id,
        fleet,
        ApproximateMemory(settings.approximate_blocks),
        SpeculativePrompts(settings.speculative_s),
    )
    audit = Audit(settings.replica_id, now_unix_ms)
    reservations = Reservations(
        settings.replica_id, settings.reservation_lease_s, first_seq=time.time_ns() // 1_000_000
    )
    lengths = OutputLengths(settings.default_output_tokens)
    samples = SampleSender(runtime.bus)
    parts = RouterParts(
        fleet=fleet,
        prompts=Prompts(Tokenizers(), settings.tokenizers),
        prefixes=PrefixLookup(_index(settings, runtime), routed),
        forecaster=Forecaster(RemotePredictor(predictors, settings.predictor_budget_ms / 1000)),
        reservations=reservations,
        profiles=Profiles(settings.profile),
        lengths=lengths,
        outcomes=Outcomes(fleet, reservations, routed, audit, lengths, samples),
        routed=routed,
        audit=audit,
        random=Random(),
    )
    return parts, samples


async def _announce(parts: RouterParts, runtime: Runtime) -> None:
    """Tell the other replicas about changed load soon, and about all of it now and then."""
    publish, router_id = runtime.bus.publish, runtime.replica_id
    all_at = 0.0
    while True:
        now = time.monotonic()
        full = now >= all_at
        if full:
            all_at = now + ANNOUNCE_ALL_S
            parts.outcomes.expire()
            parts.reservations.tidy(parts.fleet.endpoints)
        delta = parts.reservations.announcement(full, int(time.time() * 1000))
        if delta is not None:
            await publish(subjects.inflight(router_id), delta.SerializeToString(), "inflight")
        told = parts.routed.announcement(parts.reservations.live_peers > 0)
        if told is not None:
            await publish(subjects.routed(router_id), told.SerializeToString(), "routed")
        for doubt in parts.audit.take_doubts():
            subject = subjects.doubt(doubt.endpoint_id)
            await publish(subject, doubt.SerializeToString(), "doubt")
        await asyncio.sleep(ANNOUNCE_S)


def _hear(parts: RouterParts, data: bytes) -> None:
    try:
        if len(data) <= MAX_INFLIGHT_BYTES:
            parts.reservations.hear(InFlightDelta.FromString(data))
            return
    except DecodeError:
        pass
    shared_metrics.bad_records.labels("inflight").inc()


async def _watch_state(parts: RouterParts, runtime: Runtime) -> None:
    """Keep the gauges current."""
    while True:
        ids = tuple(parts.fleet.endpoints)
        in_flight = parts.reservations.in_flight(ids)
        for i, endpoint_id in enumerate(ids):
            if i % GAUGES_PER_TURN == GAUGES_PER_TURN - 1:
                await asyncio.sleep(0)
            if endpoint_id in parts.fleet.endpoints:
                metrics.in_flight.labels(endpoint_id).set(in_flight.requests[i])
                age_s = parts.fleet.load_age_ms(endpoint_id) / 1000
                metrics.load_age_seconds.labels(endpoint_id).set(age_s)
        inhibited = sum(parts.fleet.is_inhibited(e) for e in ids)
        metrics.endpoints.labels("ready").set(len(ids) - inhibited)
        metrics.endpoints.labels("inhibited").set(inhibited)
        metrics.peers.set(parts.reservations.live_peers)
        await asyncio.sleep(1)


async def _warm(runtime: Runtime) -> None:
    """Compile or load the kernels, so that the first decision need not."""
    await asyncio.to_thread(keys.warm)
    await asyncio.to_thread(state.warm)
    await asyncio.to_thread(speculative.warm)
    settle_heap()
    runtime.readiness.set("kernels", True)


@asynccontextmanager
async def build(settings: RouterSettings, runtime: Runtime) -> AsyncIterator[None]:
    """Wire the router to etcd, NATS and the server; drain the samples at the end."""
    runtime.readiness.set("endpoints", False, "no endpoint is registered")
    runtime.readiness.set("kernels", False, "kernels are being compiled")
    parts, samples = _parts(settings, runtime)

    def on_endpoints(values: Mapping[str, bytes]) -> None:
        parts.outcomes.void(parts.fleet.update(values))
        parts.prompts.preload(parts.fleet.endpoints)
        found = bool(parts.fleet.endpoints)
        runtime.readiness.set("endpoints", found, "no endpoint is registered")

    runtime.spawn("kernels", _warm(runtime))
    watch = runtime.etcd.watch
    runtime.spawn("endpoints", watch(discovery.ENDPOINTS_PREFIX, on_endpoints))
    runtime.spawn("bundles", watch(discovery.BUNDLES_PREFIX, parts.forecaster.update))
    runtime.spawn("profiles", watch(discovery.PROFILES_PREFIX, parts.profiles.update))
    runtime.bus.subscribe(subjects.LOAD_ALL, parts.fleet.on_load)
    runtime.bus.subscribe(subjects.INFLIGHT_ALL, lambda _, data: _hear(parts, data))
    runtime.bus.subscribe(subjects.ROUTED_ALL, parts.routed.hear)
    runtime.spawn("announce", _announce(parts, runtime))
    runtime.spawn("samples", samples.run())
    runtime.spawn("state", _watch_state(parts, runtime))
    service = RouterService(parts, settings)
    runtime.spawn("reports", service.end_reports(runtime.stopping))
    router_pb2_grpc.add_RouterServicer_to_server(service, runtime.server)
    runtime.expose("farsight.v1.Router")
    yield
    await samples.drain(settings.drain_s)
