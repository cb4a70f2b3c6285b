"""The Report stream to one router replica."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import grpc.aio

from farsight.client import metrics
from farsight.log import get_logger
from farsight.pb.router_pb2 import ReportEvent

if TYPE_CHECKING:
    from farsight.pb.router_pb2_grpc import RouterAsyncStub

log = get_logger(__name__)

REOPEN_S = 0.2


class ReportStream:
    """Events in order over one long stream, opened with the first event and after every break."""

    def __init__(self, stub: "RouterAsyncStub", limit: int) -> None:
        self._stub = stub
        self._limit = limit
        self._pending: deque[ReportEvent] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._task = asyncio.create_task(self._run(), name="report stream")

    def offer(self, event: ReportEvent) -> bool:
        """Take an event to send; False when the bound is reached or the stream closes."""
        if self._closing or len(self._pending) >= self._limit:
            return False
        self._pending.append(event)
        self._wake.set()
        return True

    async def close(self, limit_s: float) -> list[ReportEvent]:
        """Send what is pending and half-close; returns what was not sent within `limit_s`."""
        self._closing = True
        self._wake.set()
        await asyncio.wait({self._task}, timeout=limit_s)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return list(self._pending)

    async def _run(self) -> None:
        while await self._something_to_send():
            try:
                await self._stream()
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
                log.debug("report stream broke", extra={"error": repr(error)})
            except asyncio.CancelledError:
                # grpc.aio raises this, too, when the server cancelled the call.
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
            else:
                return
            metrics.report_streams_broken.inc()
            await asyncio.sleep(REOPEN_S)

    async def _something_to_send(self) -> bool:
        """Wait for an event; False when the stream closes and nothing is left."""
        while not self._pending and not self._closing:
            self._wake.clear()
            await self._wake.wait()
        return bool(self._pending)

    async def _stream(self) -> None:
        """Send events until the stream closes, then half-close and wait for the summary."""
        call = self._stub.Report()
        try:
            while await self._something_to_send():
                await call.write(self._pending[0])
                self._pending.popleft()
            await call.done_writing()
            await call
        finally:
            call.cancel()
