"""Runs what an index does one pause at a time, without an event loop."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Generic, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Done(Generic[Result]):
    """What came out at the end."""

    result: Result


def step(running: Awaitable[Result]) -> Done[Result] | None:
    """Run to the next pause; None before the end."""
    try:
        next(iter(running.__await__()))
    except StopIteration as stop:
        return Done(stop.value)
    return None


def finish(running: Awaitable[Result]) -> Result:
    """Run to the end."""
    while (done := step(running)) is None:
        pass
    return done.result
