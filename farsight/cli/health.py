"""Health of a service replica in words."""

import asyncio
import json

import aiohttp
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from farsight.cli.asking import ANSWER_LIMIT_S, LATE, NoAnswer, ask
from farsight.cli.status_report import SERVING
from farsight.pb.records_pb2 import ServiceRecord

HTTP_KIND = "gateway"  # its record names its HTTP server
MAX_BODY_BYTES = 64 * 1024


async def health_of(record: ServiceRecord) -> str:
    """`serving`, or what it is instead, within ANSWER_LIMIT_S."""
    if record.kind == HTTP_KIND:
        return await _http_health(record.address)
    answer = await ask(record.address, _check)
    if isinstance(answer, NoAnswer):
        return answer.why
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return SERVING
    return "not ready"


async def _check(channel: grpc.aio.Channel) -> health_pb2.HealthCheckResponse:
    stub = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest()
    reply: health_pb2.HealthCheckResponse
    reply = await stub.Check(request)  # type: ignore[attr-defined] # the stubs leave it out
    return reply


async def _http_health(address: str) -> str:
    try:
        async with (
            asyncio.timeout(ANSWER_LIMIT_S),
            aiohttp.ClientSession() as session,
            session.get(f"http://{address}/readyz") as response,
        ):
            if response.status == 200:
                return SERVING
            return _not_ready(await response.content.read(MAX_BODY_BYTES))
    except TimeoutError:
        return LATE.why
    except (aiohttp.ClientError, ValueError):
        return "unreachable"


def _not_ready(body: bytes) -> str:
    """What the gateway says that it misses."""
    try:
        missing = json.loads(body)["missing"]
        return "not ready: " + ", ".join(f"{part}: {why}" for part, why in missing.items())
    except (ValueError, KeyError, TypeError, AttributeError):
        return "not ready"
