"""Cancellation that libraries lose.

`asyncio.wait_for` of Python 3.11 swallows a cancellation that crosses its result, and some client
libraries catch CancelledError in a flush or a connect. A loop around such a call would never end.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def cancellation_kept() -> Iterator[None]:
    """Raise CancelledError at the end when the task was cancelled inside and nobody said so."""
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    except Exception:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError from None
        raise
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
