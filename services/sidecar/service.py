"""The sidecar as a service."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import zmq.asyncio

from farsight.runtime import Runtime, settle_heap
from services.sidecar.settings import SidecarSettings
from services.sidecar.sidecar import Sidecar
from services.sidecar.warm import warm


@asynccontextmanager
async def build(settings: SidecarSettings, runtime: Runtime) -> AsyncIterator[None]:
    """Run the sidecar until the process stops; its endpoint is withdrawn before that."""
    runtime.readiness.set("nats", False, settings.nats)
    runtime.bus.on_reconnect(lambda: runtime.readiness.set("nats", True))
    await asyncio.to_thread(warm)
    settle_heap()
    context = zmq.asyncio.Context()
    try:
        async with aiohttp.ClientSession() as session:
            sidecar = Sidecar(settings, runtime, session, context)
            runtime.spawn("sidecar", sidecar.run())
            yield
            await sidecar.stopped.wait()
    finally:
        context.destroy(linger=0)
