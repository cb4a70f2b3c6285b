"""Owns one epoch of an endpoint's KV state: batches in, mirror changed, deltas out.

While the engine's history is being replayed nothing is published; what is held at the end of it is
the first delta of the epoch.
"""

import asyncio
import time
from collections.abc import Callable

from farsight.log import get_logger
from services.sidecar import metrics
from services.sidecar.changes import ChangeLog, Tier
from services.sidecar.events import BadEvents, Batch, decode
from services.sidecar.frames import Frame
from services.sidecar.holding import HeldKeys
from services.sidecar.kv_groups import KvGroupRule
from services.sidecar.mirror import Mirror
from services.sidecar.mirror_state import MirrorState
from services.sidecar.publisher import DeltaPublisher
from services.sidecar.stream import Resync

log = get_logger(__name__)


class BadBatches:
    """Bad batches of one engine process: logged once, and reread ever more rarely."""

    def __init__(
        self, first_reread_s: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._logged = False
        self._reread_s = first_reread_s
        self._not_before = 0.0

    def note(self, frame: Frame, error: BadEvents) -> None:
        """Count a bad batch; log the first."""
        metrics.bad_batches.labels(error.kind).inc()
        if not self._logged:
            self._logged = True
            log.warning("KV events not decodable", extra={"seq": frame.seq, "error": error.detail})

    def may_reread(self) -> bool:
        """Reading the stream again is worth a try now; each try doubles the wait for the next."""
        now = self._clock()
        if now < self._not_before:
            return False
        self._not_before = now + self._reread_s
        self._reread_s = min(self._reread_s * 2, 600.0)
        return True


class Tracker:
    """The sink of a KvStream for one epoch.

    :param observe: called with each decoded batch.
    """

    def __init__(
        self,
        mirror: Mirror,
        publisher: DeltaPublisher,
        bad: BadBatches,
        observe: Callable[[Batch], None] | None = None,
    ) -> None:
        self._mirror = mirror
        self._publisher = publisher
        self._bad = bad
        self._observe = observe
        self._log = ChangeLog()
        self._hears_live_events = True
        self.live = False

    @property
    def reason(self) -> str:
        """Why the endpoint is not EXACT; empty when it is."""
        if not self.live:
            return "catching-up"
        return self._mirror.reason or ("" if self._hears_live_events else "no-live-events")

    @property
    def block_count(self) -> int:
        """Keys held, over all tiers and groups."""
        return self._mirror.block_count

    @property
    def rules(self) -> tuple[KvGroupRule, ...]:
        """Rules of the KV groups beside group 0."""
        return self._mirror.kv_groups

    @property
    def without_prefix_group(self) -> bool:
        """No group needs every block of a prefix: group 0 is empty."""
        return self._mirror.without_prefix_group

    def contents(self) -> list[HeldKeys]:
        """A copy of all that is held; may run in a thread while no batch is applied."""
        return self._mirror.contents()

    def export(self) -> MirrorState:
        """The mirror as data; on the terms of `contents`."""
        return self._mirror.export()

    def apply(self, frame: Frame) -> None:
        """Take the next batch.

        :raises Resync: it came live, cannot be decoded, and the engine may retain a good copy.
        """
        try:
            batch = decode(frame.body)
        except BadEvents as error:
            self._bad.note(frame, error)
            self._mirror.lose("undecodable-events")
            if self.live and self._bad.may_reread():
                raise Resync("undecodable-events") from error
            return
        metrics.batches.inc()
        if batch.unknown:
            metrics.ignored_events.labels("tag").inc(batch.unknown)
        for kind, count in batch.kind_counts.items():
            metrics.events.labels(kind.name.lower()).inc(count)
        self._mirror.apply(batch, self._log)
        if self._observe is not None:
            self._observe(batch)

    def lose(self, reason: str) -> None:
        """Batches before the next one are missing for good."""
        log.warning("KV events lost", extra={"reason": reason})
        self._mirror.lose(reason)

    def hears(self, live: bool) -> None:
        """Published batches arrive, or only replay brings what the engine has published."""
        if live != self._hears_live_events:
            log.warning("live KV events", extra={"arrive": live})
        self._hears_live_events = live

    async def flush(self) -> None:
        """Publish what has changed."""
        changes = self._log.take()
        if changes and self.live:
            await self._publisher.send(changes)
        if self._mirror.is_crowded:
            await asyncio.to_thread(self._mirror.make_room)
        self._count()

    async def caught_up(self) -> None:
        """Publish all that is held as the start of the epoch."""
        self._log.take()
        await asyncio.to_thread(self._mirror.announce, self._log)
        self.live = True
        await self._publisher.send(await asyncio.to_thread(self._log.take))
        self._count()

    def _count(self) -> None:
        for tier in Tier:
            metrics.mirror_blocks.labels(tier.name.lower()).set(self._mirror.held_count(tier))
        for reason, count in self._mirror.take_ignored().items():
            metrics.ignored_events.labels(reason).inc(count)
