"""The emulator as a real process."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


def flags(**values: object) -> list[str]:
    """Command-line flags by name; a tuple is a repeated flag."""
    made: list[str] = []
    for name, value in values.items():
        for one in value if isinstance(value, tuple) else (value,):
            made += [f"--{name.replace('_', '-')}", str(one)]
    return made


@asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m sim.emulator`; killed at the end when it is still there."""
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sim.emulator", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"},
    )
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.kill()
        await started.communicate()


async def urls(started: asyncio.subprocess.Process, pods: int = 1) -> list[str]:
    """Base URLs that it prints when it serves."""
    assert started.stdout is not None
    found: list[str] = []
    async with asyncio.timeout(60):
        while len(found) < pods:
            line = (await started.stdout.readline()).decode()
            assert line, "it ended"
            found.append(next(word for word in line.split() if word.startswith("http://")))
    return found
