"""Cancellation that a library swallows is raised again."""

import asyncio
import contextlib

import pytest

from farsight.cancellation import cancellation_kept


async def swallowing(started: asyncio.Event) -> None:
    """A library call that catches a cancellation and returns as if nothing had been."""
    with contextlib.suppress(asyncio.CancelledError):
        started.set()
        await asyncio.Event().wait()


async def test_a_swallowed_cancellation_is_raised_at_the_end() -> None:
    """The task ends as cancelled although the call inside returned."""
    started = asyncio.Event()

    async def work() -> None:
        with cancellation_kept():
            await swallowing(started)

    task = asyncio.create_task(work())
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_calls_made_while_a_task_is_being_cancelled_still_work() -> None:
    """Clean-up after a cancellation is not cancelled again."""
    cleaned: list[bool] = []
    started = asyncio.Event()

    async def work() -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            with cancellation_kept():
                await asyncio.sleep(0)
            cleaned.append(True)

    task = asyncio.create_task(work())
    await started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert cleaned == [True]
