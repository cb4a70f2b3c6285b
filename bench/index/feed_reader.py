"""An index that is fed over NATS, in a process of its own."""

import asyncio
import time
from collections.abc import Callable, Sequence

import uvloop

from bench.index.progress import Progress
from farsight import keys
from farsight.bus import Bus
from farsight.index import state
from farsight.index.feed import IndexFeed
from farsight.index.match import Confidence
from farsight.index.state import SourceReport
from farsight.runtime import settle_heap

LOOK_S = 0.02
LIMIT_S = 120.0
Report = Sequence[SourceReport]


class FeedReader:
    """An `IndexFeed` with warm kernels; times are of the machine's monotonic clock, seconds.

    :param ready: 1 when the subscriptions are made.
    :param applied: deltas applied, over all endpoints.
    """

    def __init__(self, url: str, ready: Progress, applied: Progress) -> None:
        keys.warm()
        state.warm()
        settle_heap()
        self._url = url
        self._ready = ready
        self._applied = applied

    def follow(self, deltas: int) -> float:
        """When the last of so many deltas had been applied.

        :raises TimeoutError: a delta was lost, or an endpoint does not become EXACT.
        """
        return uvloop.run(self._run(lambda report: self._count(report) >= deltas))

    def recover(self, endpoints: int) -> tuple[float, float, int]:
        """When the feed was started, when so many endpoints were EXACT, and the blocks they hold.

        :raises TimeoutError: they do not become EXACT.
        """
        started = time.monotonic()
        ended = uvloop.run(self._run(lambda report: len(report) >= endpoints and exact(report)))
        return started, ended, self._blocks

    def _count(self, report: Report) -> int:
        count = sum(source.applied_seq for source in report)
        self._applied.set(count)
        return count

    async def _run(self, done: Callable[[Report], bool]) -> float:
        bus = Bus(self._url)
        await bus.run()
        feed = IndexFeed(bus, "bench")
        running = asyncio.create_task(feed.run())
        await asyncio.sleep(0)
        await bus.flush()
        self._ready.set(1)
        async with asyncio.timeout(LIMIT_S):
            while not done(feed.index.report()):  # noqa: ASYNC110 # the feed tells nobody
                await asyncio.sleep(LOOK_S)
            ended = time.monotonic()
            while not exact(report := feed.index.report()):  # noqa: ASYNC110 # the same
                await asyncio.sleep(LOOK_S)
        self._blocks = sum(sum(source.blocks) for source in report)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await bus.close()
        return ended


def exact(report: Report) -> bool:
    """Every endpoint is EXACT."""
    return all(source.confidence is Confidence.EXACT for source in report)
