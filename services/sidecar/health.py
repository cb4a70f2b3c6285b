"""Probes an engine and says when its endpoint should be offered and when not.

Sick: several probes of `/health` failed in a row, or the load could not be read for a while. Well
again: a probe succeeds and the load has been read since, which also proves that the engine process
is still the same one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from farsight.log import get_logger
from services.sidecar import metrics
from services.sidecar.engine import Engine, EngineUnavailable

log = get_logger(__name__)


class Health:
    """Health of one endpoint's engine.

    :param load_read_at: when the load was read last, on `clock`.
    :param on_sick: called when the endpoint must not be offered, `on_well` when it may be again.
    """

    def __init__(
        self,
        engine: Engine,
        load_read_at: Callable[[], float],
        on_sick: Callable[[str], Awaitable[None]],
        on_well: Callable[[], None],
        *,
        interval_s: float,
        failures: int,
        load_timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._load_read_at = load_read_at
        self._on_sick = on_sick
        self._on_well = on_well
        self._interval_s = interval_s
        self._failures = failures
        self._load_timeout_s = load_timeout_s
        self._clock = clock
        self._failed = 0
        self._sick_since: float | None = None

    async def run(self) -> None:
        """Probe until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            await self.probe()

    async def probe(self) -> None:
        """Probe once and tell when the verdict changes."""
        try:
            await self._engine.check_health()
            self._failed = 0
        except EngineUnavailable as error:
            metrics.probe_failures.inc()
            self._failed += 1
            log.debug("probe failed", extra={"error": str(error)})
        reason = self._trouble()
        if reason and self._sick_since is None:
            self._sick_since = self._clock()
            log.warning("engine is sick", extra={"reason": reason})
            await self._on_sick(reason)
        elif self._sick_since is not None and not reason and self._is_well_since(self._sick_since):
            self._sick_since = None
            log.info("engine is well again")
            self._on_well()

    def _is_well_since(self, moment: float) -> bool:
        return not self._failed and self._load_read_at() > moment

    def _trouble(self) -> str:
        if self._failed >= self._failures:
            return "engine-unhealthy"
        if self._clock() - self._load_read_at() > self._load_timeout_s:
            return "load-unreadable"
        return ""
