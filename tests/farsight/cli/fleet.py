"""A small registered fleet of real servers whose answers a test writes, and the real command."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
from aiohttp import web

from farsight import discovery
from farsight.etcd import Etcd
from farsight.pb import index_pb2, index_pb2_grpc, predictor_pb2, predictor_pb2_grpc
from farsight.pb.records_pb2 import BundlePointer, EndpointRecord, ServiceRecord
from farsight.pb.router_pb2 import EndpointStatus, RouterStatusReply
from farsight.pb.types_pb2 import Confidence
from farsight.server import Server
from tests.fakes import router as fake_router
from tests.fakes.router import FakeRouter

ROOT = Path(__file__).parents[3]
ENDPOINT_IDS = ("e0", "e1")
EPOCH = 1_790_000_000_000
Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command left behind."""

    exit_code: int
    out: str
    err: str


@asynccontextmanager
async def started(*arguments: str, columns: int = 120) -> AsyncIterator[asyncio.subprocess.Process]:
    """The `farsight` command as a process, killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "farsight.cli", *arguments),
        cwd=ROOT,
        env=os.environ | {"COLUMNS": str(columns)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ended(process: asyncio.subprocess.Process) -> Outcome:
    """Wait for the command's end."""
    out, err = await process.communicate()
    assert process.returncode is not None
    return Outcome(process.returncode, out.decode(), err.decode())


async def farsight(*arguments: str, columns: int = 120) -> Outcome:
    """Run the `farsight` command."""
    async with started(*arguments, columns=columns) as process:
        return await ended(process)


class FakeIndex(index_pb2_grpc.IndexServicer):
    """Answers Status as the test says."""

    def __init__(self) -> None:
        self.sources = [
            index_pb2.SourceStatus(
                endpoint_id=endpoint_id,
                confidence=Confidence.CONFIDENCE_EXACT,
                epoch=EPOCH,
                applied_seq=812,
                announced_seq=812,
                age_ms=120,
                device_blocks=1024,
            )
            for endpoint_id in ENDPOINT_IDS
        ]

    async def Status(
        self, request: index_pb2.IndexStatusRequest, context: Context
    ) -> index_pb2.IndexStatusReply:
        """The scripted sources."""
        return index_pb2.IndexStatusReply(
            replica_id="indexer-0", sources=self.sources, distinct_blocks=1500
        )

    async def Match(
        self, request: index_pb2.MatchRequest, context: Context
    ) -> index_pb2.MatchReply:
        """The command does not ask this."""
        raise NotImplementedError

    def Dump(
        self, request: index_pb2.DumpRequest, context: Context
    ) -> AsyncIterator[index_pb2.DumpChunk]:
        """The command does not ask this."""
        raise NotImplementedError


class FakePredictor(predictor_pb2_grpc.PredictorServicer):
    """Has version 3 of the bundle."""

    async def Status(
        self, request: predictor_pb2.PredictorStatusRequest, context: Context
    ) -> predictor_pb2.PredictorStatusReply:
        """One bundle."""
        return predictor_pb2.PredictorStatusReply(
            replica_id="predictor-0",
            bundles=[predictor_pb2.BundleStatus(model="tiny", version=3)],
        )

    async def Predict(
        self, request: predictor_pb2.PredictRequest, context: Context
    ) -> predictor_pb2.PredictReply:
        """The command does not ask this."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class RunningFleet:
    """Parts that a test changes or stops."""

    router: FakeRouter
    index: FakeIndex
    index_server: Server


def router_status() -> RouterStatusReply:
    """A router's view of both endpoints."""
    return RouterStatusReply(
        replica_id="router-0",
        profile="predicted",
        profiles=["predicted", "round-robin"],
        decisions=42,
        fallbacks={"index-timeout": 2},
        endpoints=[
            EndpointStatus(
                endpoint_id=endpoint_id,
                url="http://127.0.0.1:8000",
                model="tiny",
                confidence=Confidence.CONFIDENCE_EXACT,
                requests=21,
                in_flight_requests=1,
                cached_tokens_predicted=1536,
                cached_tokens_actual=1536,
                prompt_tokens=2048,
                ttft_predicted_ms=41.5,
                ttft_actual_ms=44.25,
                load_age_ms=80,
            )
            for endpoint_id in ENDPOINT_IDS
        ],
    )


async def register(etcd: Etcd, kind: str, address: str) -> None:
    """Write a replica's record."""
    record = ServiceRecord(
        kind=kind,
        replica_id=f"{kind}-0",
        address=address,
        started_unix_ms=int(time.time() * 1000) - 90_000,
        version="0.1.0",
    )
    key = discovery.service_key(kind, record.replica_id)
    await etcd.put(key, discovery.encode_record(record))


def endpoint_record(endpoint_id: str) -> bytes:
    """A record under an endpoint's key."""
    return discovery.encode_record(
        EndpointRecord(
            endpoint_id=endpoint_id,
            url="http://127.0.0.1:8000",
            pool="default",
            model="tiny",
            block_size_tokens=16,
            key_block_tokens=16,
            kv_blocks=2048,
            epoch=EPOCH,
        )
    )


async def publish(etcd: Etcd) -> None:
    """Leased endpoints, a trainer that leads, a live bundle."""
    lease = await etcd.grant(60)
    for endpoint_id in ENDPOINT_IDS:
        key = discovery.endpoint_key(endpoint_id)
        await etcd.put_leased(key, endpoint_record(endpoint_id), lease)
    await etcd.put(discovery.TRAINER_ELECTION_KEY, b"trainer-0")
    pointer = BundlePointer(
        version=3,
        sha256="a" * 64,
        object_name="tiny-3",
        trained_unix_ms=int(time.time() * 1000) - 30_000,
        sample_count=640,
        model="tiny",
    )
    await etcd.put(discovery.bundle_key("tiny"), discovery.encode_record(pointer))


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[str]:
    """A healthy gRPC server; its address."""
    await server.start()
    await server.set_serving(True)
    try:
        yield server.address
    finally:
        await server.stop(0)


@asynccontextmanager
async def gateway() -> AsyncIterator[str]:
    """A gateway that is ready; its address."""

    async def ready(_: web.Request) -> web.Response:
        return web.json_response({"status": "ready"})

    app = web.Application()
    app.add_routes([web.get("/readyz", ready)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def whole_fleet(etcd: Etcd) -> AsyncIterator[RunningFleet]:
    """One healthy replica of everything and two endpoints."""
    index, index_server = FakeIndex(), Server("127.0.0.1:0")
    index_pb2_grpc.add_IndexServicer_to_server(index, index_server.grpc)
    predictor = Server("127.0.0.1:0")
    predictor_pb2_grpc.add_PredictorServicer_to_server(FakePredictor(), predictor.grpc)
    servers = {
        "indexer": index_server,
        "predictor": predictor,
        "trainer": Server("127.0.0.1:0"),
        "sidecar": Server("127.0.0.1:0"),
    }
    async with AsyncExitStack() as stack:
        for kind, server in servers.items():
            await register(etcd, kind, await stack.enter_async_context(serving(server)))
        await register(etcd, "gateway", await stack.enter_async_context(gateway()))
        router = await stack.enter_async_context(
            fake_router.serving(fake_router.in_order("http://127.0.0.1:8000"))
        )
        router.status = router_status()
        await register(etcd, "router", router.address)
        await publish(etcd)
        yield RunningFleet(router, index, index_server)
