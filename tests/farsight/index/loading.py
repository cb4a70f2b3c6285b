"""Runs the load of a snapshot one pause at a time, without an event loop."""

from collections.abc import Awaitable


def step(running: Awaitable[bool]) -> bool | None:
    """Run a load to its next pause; its result when it is done, None before."""
    try:
        next(iter(running.__await__()))
    except StopIteration as done:
        return bool(done.value)
    return None


def finish(running: Awaitable[bool]) -> bool:
    """Run a load to its end; its result."""
    while (synced := step(running)) is None:
        pass
    return synced
