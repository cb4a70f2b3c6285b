"""A service inside a test's event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from farsight.runtime import Runtime
from farsight.settings import ServiceSettings


@asynccontextmanager
async def running(
    kind: str,
    settings: ServiceSettings,
    build: Callable[..., AbstractAsyncContextManager[None]],
) -> AsyncIterator[Runtime]:
    """A service from start to graceful stop."""
    async with asyncio.TaskGroup() as tasks:
        runtime = Runtime(kind, settings, tasks)
        try:
            async with build(settings, runtime):
                living = tasks.create_task(runtime.live())
                try:
                    yield runtime
                finally:
                    runtime.stopping.set()
                    await living
        finally:
            await runtime.close()
