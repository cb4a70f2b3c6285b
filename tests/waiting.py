"""How tests wait for something that real servers do in their own time."""

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], bool], limit_s: float = 10) -> None:
    """Return when the condition holds; TimeoutError when it does not within the limit."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 # what is waited for happens in another process
            await asyncio.sleep(0.02)
