"""Waiting until a process answers, and saying so while it takes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from enum import Enum

import aiohttp
import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from farsight.channel import connect
from farsight.local.errors import NotReady, ProcessEnded
from farsight.local.process import Process

PROBE_TIMEOUT_S = 2.0
PROBE_INTERVAL_S = 0.1

Probe = Callable[[], Awaitable[bool]]


class State(Enum):
    """What a progress callback is told."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


Progress = Callable[[str, State, float], None]
"""Called with a process's name, its state, and the seconds since it was started."""


def silent(name: str, state: State, seconds: float) -> None:
    """A progress callback that says nothing."""


def http_ok(url: str) -> Probe:
    """A probe: GET answers 200."""

    async def probe() -> bool:
        limit = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
        try:
            async with aiohttp.ClientSession(timeout=limit) as http, http.get(url) as reply:
                return reply.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    return probe


def grpc_serving(address: str) -> Probe:
    """A probe: the gRPC health service says SERVING."""

    async def probe() -> bool:
        async with connect(address) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                reply = await stub.Check(  # type: ignore[attr-defined] # the stubs leave it out
                    health_pb2.HealthCheckRequest(), timeout=PROBE_TIMEOUT_S
                )
            except grpc.aio.AioRpcError:
                return False
            return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    return probe


async def wait_ready(
    process: Process, probe: Probe, limit_s: float, progress: Progress = silent
) -> None:
    """Return when the probe holds; progress is told at each whole second and at the end.

    :raises ProcessEnded: the process ended.
    :raises NotReady: it still runs after `limit_s`.
    """
    told_s = -1
    while True:
        passed_s = time.monotonic() - process.started_s
        if int(passed_s) > told_s:
            told_s = int(passed_s)
            progress(process.name, State.STARTING, passed_s)
        try:
            process.check()
            if await probe():
                progress(process.name, State.READY, time.monotonic() - process.started_s)
                return
            if passed_s > limit_s:
                raise NotReady(process.name, limit_s, process.tail())
        except (ProcessEnded, NotReady):
            progress(process.name, State.FAILED, passed_s)
            raise
        await asyncio.sleep(PROBE_INTERVAL_S)
