"""Who reads what a sidecar publishes, and when how much has come."""

import asyncio
import time

import uvloop

from bench.index.progress import Progress
from farsight import subjects
from farsight.bus import Bus, Handler
from farsight.pb.events_pb2 import KvDelta

LIMIT_S = 300.0
Arrivals = list[tuple[float, int]]


class DeltaReceiver:
    """Counts the blocks of one endpoint's deltas, or messages.

    :param ready: 1 when the subscription is made.
    :param received: the count so far.
    """

    def __init__(self, url: str, endpoint_id: str, ready: Progress, received: Progress) -> None:
        self._bus = Bus(url)
        self._subject = subjects.delta(endpoint_id)
        self._ready = ready
        self._received = received
        self._arrivals: Arrivals = []

    def blocks(self, total: int) -> Arrivals:
        """(Monotonic seconds, blocks so far) at each delta until there are `total`.

        :raises TimeoutError: they do not come.
        """
        uvloop.run(self._run(self._on_delta, total))
        return self._arrivals

    def messages(self, total: int) -> Arrivals:
        """The same of messages of any kind."""
        uvloop.run(self._run(self._on_message, total))
        return self._arrivals

    def _on_delta(self, subject: str, data: bytes) -> None:
        changes = KvDelta.FromString(data).changes
        self._note(sum(len(change.keys) for change in changes) // 8)

    def _on_message(self, subject: str, data: bytes) -> None:
        self._note(1)

    def _note(self, count: int) -> None:
        self._received.set(self._received.value + count)
        self._arrivals.append((time.monotonic(), self._received.value))

    async def _run(self, handler: Handler, total: int) -> None:
        await self._bus.run()
        self._bus.subscribe(self._subject, handler)
        await asyncio.sleep(0.05)
        await self._bus.flush()
        self._ready.set(1)
        async with asyncio.timeout(LIMIT_S):
            while self._received.value < total:  # noqa: ASYNC110 # no event for each message
                await asyncio.sleep(0.01)
        await self._bus.close()
