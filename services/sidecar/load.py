"""Reads an engine rank's load from `/metrics` a few times a second and publishes it.

Each message is also the heartbeat of the KV stream: it carries the last delta's number and what the
sidecar thinks of its mirror, so that an indexer sees a lost tail while the engine is idle.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from farsight import subjects
from farsight.bus import Bus
from farsight.log import get_logger
from services.sidecar import metrics
from services.sidecar.engine import Engine, EngineUnavailable
from services.sidecar.exposition import value
from services.sidecar.publisher import unix_ms
from services.sidecar.status import Confidence, KvStatus
from services.sidecar.wire import EngineLoad, encode_load

log = get_logger(__name__)

RUNNING = b"vllm:num_requests_running"
WAITING = b"vllm:num_requests_waiting"
KV_USAGE = b"vllm:kv_cache_usage_perc"
PROCESS_START = b"process_start_time_seconds"


class EngineReplaced(Exception):
    """Another engine process answers at the same address."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """One reading; `process_start_unix_s` is None where the engine does not tell it."""

    load: EngineLoad
    process_start_unix_s: float | None


def parse(page: bytes, rank: int) -> Scrape | None:
    """Load of one rank; None when the page does not have it."""
    running, waiting = value(page, RUNNING, rank), value(page, WAITING, rank)
    usage = value(page, KV_USAGE, rank)
    if running is None or waiting is None or usage is None:
        return None
    if not all(math.isfinite(n) and 0 <= n < 2**32 for n in (running, waiting, usage)):
        return None
    return Scrape(
        EngineLoad(int(running), int(waiting), min(usage, 1.0)), value(page, PROCESS_START, rank)
    )


class LoadReporter:
    """Load of one endpoint during one life of its engine.

    :param process_start_unix_s: the process that this life belongs to.
    :param kv_status: what the KV side says at the moment.
    :param storage_pool: identity of the shared storage that the engine mounts; empty: none.
    """

    def __init__(
        self,
        engine: Engine,
        bus: Bus,
        endpoint_id: str,
        rank: int,
        process_start_unix_s: float | None,
        kv_status: Callable[[], KvStatus],
        *,
        storage_pool: str,
        interval_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._bus = bus
        self._endpoint_id = endpoint_id
        self._rank = rank
        self._process_start_unix_s = process_start_unix_s
        self._kv_status = kv_status
        self._storage_pool = storage_pool
        self._interval_s = interval_s
        self._clock = clock
        self.read_at = clock()

    async def run(self) -> None:
        """Read and publish until cancelled.

        :raises EngineReplaced: the engine process is another one.
        """
        while True:
            began = self._clock()
            try:
                await self.report()
            except EngineUnavailable as error:
                metrics.scrape_failures.labels("unavailable").inc()
                log.debug("metrics not read", extra={"error": str(error)})
            took = self._clock() - began
            metrics.scrape_seconds.observe(took)
            await asyncio.sleep(max(self._interval_s - took, self._interval_s / 4))

    async def report(self) -> None:
        """Read once and publish.

        :raises EngineUnavailable: the page cannot be read.
        :raises EngineReplaced: the engine process is another one.
        """
        asked_unix_ms = unix_ms()
        scrape = parse(await self._engine.metrics_page(), self._rank)
        if scrape is None:
            metrics.scrape_failures.labels("incomplete").inc()
            return
        if scrape.process_start_unix_s != self._process_start_unix_s:
            raise EngineReplaced
        self.read_at = self._clock()
        kv = self._kv_status()
        metrics.kv_exact.set(kv.confidence is Confidence.EXACT)
        payload = encode_load(self._endpoint_id, scrape.load, kv, self._storage_pool, asked_unix_ms)
        await self._bus.publish(subjects.load(self._endpoint_id), payload, "load")
