"""Calls one unary gRPC method again and again, in a process of its own."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import uvloop

from farsight.channel import connect

WARM_CALLS = 50
T = TypeVar("T")
Call = Callable[[bytes], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Method:
    """A method at host:port, and its encoded request."""

    address: str
    path: str
    request: bytes


class Caller:
    """Requests and answers stay bytes, so that only the server's own work differs."""

    def reply(self, method: Method) -> bytes:
        """One answer."""
        return uvloop.run(_with(method, partial(_once, request=method.request)))

    def measure(self, method: Method, in_flight: int, seconds: float) -> tuple[float, float, int]:
        """Median in milliseconds, requests a second, and how many there were."""
        measured = partial(_measured, method=method, in_flight=in_flight, seconds=seconds)
        return uvloop.run(_with(method, measured))


async def _with(method: Method, use: Callable[[Call], Awaitable[T]]) -> T:
    async with connect(method.address) as channel:
        call: Any = channel.unary_unary(method.path)
        return await use(call)


async def _once(call: Call, request: bytes) -> bytes:
    return await call(request)


async def _measured(
    call: Call, method: Method, in_flight: int, seconds: float
) -> tuple[float, float, int]:
    for _ in range(WARM_CALLS):
        await call(method.request)
    times_s: list[float] = []
    clock = time.perf_counter
    began = clock()

    async def ask() -> None:
        while (started := clock()) - began < seconds:
            await call(method.request)
            times_s.append(clock() - started)

    await asyncio.gather(*(ask() for _ in range(in_flight)))
    rate = len(times_s) / (clock() - began)
    return float(np.median(times_s)) * 1000, rate, WARM_CALLS + len(times_s)
