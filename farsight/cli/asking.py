"""Calls to replicas that may be gone: their answer, or in words why there is none."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import grpc
import grpc.aio

from farsight.channel import connect

T = TypeVar("T")

ANSWER_LIMIT_S = 2.0


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A replica did not answer; `why` is in words."""

    why: str


def late(limit_s: float) -> NoAnswer:
    """No answer within the limit."""
    return NoAnswer(f"no answer in {limit_s:g} s")


LATE = late(ANSWER_LIMIT_S)


async def ask(
    address: str,
    call: Callable[[grpc.aio.Channel], Awaitable[T]],
    limit_s: float = ANSWER_LIMIT_S,
) -> T | NoAnswer:
    """What `call` gets from the replica at `address` (host:port) within the limit."""
    try:
        async with asyncio.timeout(limit_s), connect(address) as channel:
            return await call(channel)
    except TimeoutError:
        return late(limit_s)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return NoAnswer("unreachable")
        return NoAnswer(f"{error.code().name}: {error.details()}")
