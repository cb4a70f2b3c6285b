"""A service as a real process."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@asynccontextmanager
async def process(service: str, *flags: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m services.<service>`; killed at the end when it is still there."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FARSIGHT_")}
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"services.{service}", *flags),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.kill()
        await started.communicate()


async def ended(started: asyncio.subprocess.Process) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a process that ends by itself."""
    out, err = await asyncio.wait_for(started.communicate(), 15)
    assert started.returncode is not None
    return started.returncode, out.decode(), err.decode()


async def terminated(started: asyncio.subprocess.Process) -> tuple[int, str, str]:
    """The same after SIGTERM."""
    started.send_signal(signal.SIGTERM)
    return await ended(started)


async def health(address: str, service: str = "") -> int:
    """What a server says of itself."""
    async with grpc.aio.insecure_channel(address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined] # its stubs
        request = health_pb2.HealthCheckRequest(service=service)
        reply = await check(request, wait_for_ready=True, timeout=10)
    return int(reply.status)


async def until_health(address: str, wanted: int, service: str = "") -> None:
    """Wait until the server says so."""
    async with asyncio.timeout(15):
        while await health(address, service) != wanted:  # noqa: ASYNC110 # another process
            await asyncio.sleep(0.05)
