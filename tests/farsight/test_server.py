"""The server of every service: statuses, request ids, health, reflection."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from farsight import log, metrics
from farsight.channel import MAX_SERVED_BYTES, connect
from farsight.errors import (
    BusUnavailable,
    FarsightError,
    InvalidField,
    NoEndpoint,
    Overloaded,
    UnknownModel,
)
from farsight.pb import index_pb2_grpc
from farsight.pb.index_pb2 import (
    DumpChunk,
    DumpRequest,
    IndexStatusReply,
    IndexStatusRequest,
    MatchReply,
    MatchRequest,
)
from farsight.server import FIELD_KEY, MAX_STATUS_CHARS, REASON_KEY, REQUEST_ID_KEY, Server

Context = grpc.aio.ServicerContext[Any, Any]
STATUS = health_pb2.HealthCheckResponse


class Example(index_pb2_grpc.IndexServicer):
    """Raises what the test says, and notes the request ids."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.request_ids: list[str] = []
        self.hold: asyncio.Event | None = None
        self.entered = asyncio.Event()

    async def Match(self, request: MatchRequest, context: Context) -> MatchReply:
        """An empty answer."""
        self.request_ids.append(log.request_id.get())
        self.entered.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        return MatchReply()

    async def Dump(self, request: DumpRequest, context: Context) -> AsyncIterator[DumpChunk]:
        """One chunk, then the error."""
        self.request_ids.append(log.request_id.get())
        yield DumpChunk(seq=1)
        if self.error is not None:
            raise self.error

    async def Status(self, request: IndexStatusRequest, context: Context) -> IndexStatusReply:
        """An empty answer."""
        return IndexStatusReply()


class Rig:
    """A server, its servicer, and a client."""

    def __init__(self, server: Server, example: Example, channel: grpc.aio.Channel) -> None:
        self.server = server
        self.example = example
        self.channel = channel
        self.stub = index_pb2_grpc.IndexStub(channel)

    async def health(self, service: str) -> int:
        """What the health service says."""
        check = health_pb2_grpc.HealthStub(self.channel).Check  # type: ignore[attr-defined] # its stubs
        return int((await check(health_pb2.HealthCheckRequest(service=service))).status)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """A started server."""
    server, example = Server("127.0.0.1:0"), Example()
    index_pb2_grpc.add_IndexServicer_to_server(example, server.grpc)
    server.expose("farsight.v1.Index")
    await server.start()
    async with connect(server.address) as channel:
        yield Rig(server, example, channel)
    await server.stop(0)


def calls(method: str, code: str) -> float:
    """How many calls ended so."""
    for family in metrics.rpc_seconds.collect():
        for sample in family.samples:
            if sample.name.endswith("_count") and sample.labels == {"method": method, "code": code}:
                return float(sample.value)
    return 0.0


@pytest.mark.parametrize(
    ("error", "code", "reason", "field"),
    [
        (InvalidField("slo", "a positive number"), "INVALID_ARGUMENT", "invalid-field", "slo"),
        (UnknownModel("m", ["a", "b"]), "NOT_FOUND", "unknown-model", "model"),
        (NoEndpoint("all are sick"), "UNAVAILABLE", "no-endpoint", ""),
        (Overloaded("too many"), "RESOURCE_EXHAUSTED", "overloaded", ""),
        (BusUnavailable("NATS"), "UNAVAILABLE", "bus-unavailable", ""),
    ],
)
async def test_our_errors_become_statuses(
    rig: Rig, error: FarsightError, code: str, reason: str, field: str
) -> None:
    """Code, message, and reason and field as metadata, in single answers and in streams."""
    rig.example.error = error
    before = calls("Match", code), calls("Dump", code)

    with pytest.raises(grpc.aio.AioRpcError) as single:
        await rig.stub.Match(MatchRequest())
    with pytest.raises(grpc.aio.AioRpcError) as streamed:
        async for _ in rig.stub.Dump(DumpRequest()):
            pass

    for refused in (single.value, streamed.value):
        trailing = dict(refused.trailing_metadata())
        assert (refused.code().name, refused.details()) == (code, str(error))
        assert (trailing[REASON_KEY], trailing[FIELD_KEY]) == (reason, field)
    # A stream's client has its answer before the server's handler has ended.
    wanted = before[0] + 1, before[1] + 1
    async with asyncio.timeout(5):
        while (calls("Match", code), calls("Dump", code)) != wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_long_messages_are_cut(rig: Rig) -> None:
    """A message larger than headers may be still arrives with its code."""
    rig.example.error = UnknownModel("m", [f"organisation/model-{i}" for i in range(5000)])

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await rig.stub.Match(MatchRequest())

    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert len(refused.value.details() or "") == MAX_STATUS_CHARS


async def test_defects_are_counted_as_unknown(rig: Rig) -> None:
    """An error that nobody planned is UNKNOWN to the client and in the metric."""
    rig.example.error = ZeroDivisionError("defect")
    before = calls("Match", "UNKNOWN"), calls("Dump", "UNKNOWN")

    with pytest.raises(grpc.aio.AioRpcError) as single:
        await rig.stub.Match(MatchRequest())
    with pytest.raises(grpc.aio.AioRpcError) as streamed:
        async for _ in rig.stub.Dump(DumpRequest()):
            pass

    assert single.value.code() is streamed.value.code() is grpc.StatusCode.UNKNOWN
    assert (calls("Match", "UNKNOWN"), calls("Dump", "UNKNOWN")) == (before[0] + 1, before[1] + 1)


async def test_the_request_id_is_bound(rig: Rig) -> None:
    """From metadata, cut to a bound; none without it."""
    for given in ("r-1", "x" * 500):
        await rig.stub.Match(MatchRequest(), metadata=((REQUEST_ID_KEY, given),))
    async for _ in rig.stub.Dump(DumpRequest(), metadata=((REQUEST_ID_KEY, "r-2"),)):
        pass
    await rig.stub.Match(MatchRequest())

    assert rig.example.request_ids == ["r-1", "x" * 128, "r-2", ""]


async def test_health_follows_what_is_set(rig: Rig) -> None:
    """NOT_SERVING at first, for the process and for its service; unknown services are told."""
    for name in ("", "farsight.v1.Index"):
        assert await rig.health(name) == STATUS.NOT_SERVING

    await rig.server.set_serving(True)

    for name in ("", "farsight.v1.Index"):
        assert await rig.health(name) == STATUS.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await rig.health("farsight.v1.Nothing")
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_the_services(rig: Rig) -> None:
    """Tools can call without the protos."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(rig.channel)  # type: ignore[arg-type] # its stubs know no aio
    request = reflection_pb2.ServerReflectionRequest(list_services="")

    (reply,) = [r async for r in stub.ServerReflectionInfo(iter([request]))]

    names = {service.name for service in reply.list_services_response.service}
    assert {"farsight.v1.Index", "grpc.health.v1.Health"} <= names


async def test_a_message_over_the_limit_is_refused(rig: Rig) -> None:
    """Before anything is parsed."""
    async with grpc.aio.insecure_channel(
        rig.server.address, options=[("grpc.max_send_message_length", -1)]
    ) as channel:
        request = MatchRequest(keys=bytes(MAX_SERVED_BYTES + 1))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await index_pb2_grpc.IndexStub(channel).Match(request)

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rig.example.request_ids == []


async def test_running_calls_end_before_the_server(rig: Rig) -> None:
    """`stop` waits for a call that was there, and takes no new one."""
    rig.example.hold = asyncio.Event()
    running = asyncio.ensure_future(rig.stub.Match(MatchRequest()))
    await rig.example.entered.wait()

    stopping = asyncio.create_task(rig.server.stop(10))
    await asyncio.sleep(0.1)
    assert not stopping.done()
    rig.example.hold.set()

    assert await running == MatchReply()
    await stopping


async def test_two_servers_never_share_a_port() -> None:
    """The second one is told, instead of getting half of the calls."""
    first = Server("127.0.0.1:0")

    with pytest.raises(RuntimeError, match=first.address):
        Server(first.address)
