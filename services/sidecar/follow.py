"""Follows the KV cache of an engine process through its epochs.

An epoch ends when the stream has to be read from its beginning; the next one starts with an empty
mirror. Ends that come in quick succession are answered with growing pauses.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NoReturn

import zmq.asyncio

from farsight.log import get_logger
from services.sidecar import metrics
from services.sidecar.mirror import BlockLayout, Mirror
from services.sidecar.publisher import DeltaPublisher
from services.sidecar.settings import SidecarSettings
from services.sidecar.snapshots import Contents, Position
from services.sidecar.source import EventSource
from services.sidecar.status import Confidence, KvStatus
from services.sidecar.stream import KvStream, Resync
from services.sidecar.tracker import BadBatches, Tracker

log = get_logger(__name__)

CALM_S = 60.0
FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 30.0


class KvFollower:
    """KV state of one endpoint during one life of its engine.

    :param source: None when the engine publishes no events: the endpoint is APPROXIMATE then.
    :param on_epoch: called when a new epoch has begun.
    """

    def __init__(
        self,
        context: zmq.asyncio.Context,
        source: EventSource | None,
        layout: BlockLayout,
        publisher: DeltaPublisher,
        settings: SidecarSettings,
        on_epoch: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._source = source
        self._layout = layout
        self._publisher = publisher
        self._settings = settings
        self._on_epoch = on_epoch
        self._clock = clock
        self._bad = BadBatches()
        self._pause_s = 0.0
        self._tracker = self._new_tracker()
        self._paused_for = ""

    def _new_tracker(self) -> Tracker:
        mirror = Mirror(
            self._layout,
            max_blocks=self._settings.max_mirror_blocks,
            count_copies=self._settings.kv_report_mode == "new",
        )
        return Tracker(mirror, self._publisher, self._bad)

    @property
    def status(self) -> KvStatus:
        """The state now."""
        epoch, seq = self._publisher.epoch, self._publisher.seq
        if self._source is None:
            return KvStatus(epoch, seq, Confidence.APPROXIMATE, "no-kv-events", 0)
        reason = self._paused_for or self._tracker.reason
        confidence = Confidence.DEGRADED if reason else Confidence.EXACT
        return KvStatus(epoch, seq, confidence, reason, self._tracker.block_count)

    def position(self) -> Position | None:
        """Where the deltas are; None while there is nothing to snapshot."""
        if self._source is None or not self._tracker.live:
            return None
        publisher = self._publisher
        return Position(
            publisher.epoch, publisher.seq, publisher.changed_blocks, self._tracker.block_count
        )

    def contents(self) -> Contents:
        """All that is held now."""
        return Contents(self._publisher.epoch, self._publisher.seq, self._tracker.held())

    async def run(self) -> NoReturn:
        """Follow epoch after epoch until cancelled."""
        ended = "engine-life"
        while True:
            metrics.epochs.labels(ended).inc()
            began = self._clock()
            try:
                await self._live_epoch()
            except Resync as resync:
                ended = resync.reason
            log.warning("KV epoch ended", extra={"reason": ended})
            await self._pause(ended, self._clock() - began)

    async def _live_epoch(self) -> None:
        self._tracker = self._new_tracker()
        self._publisher.begin()
        self._on_epoch()
        if self._source is None:
            await asyncio.Event().wait()
            return
        stream = KvStream(
            self._context,
            self._source,
            self._tracker,
            replay_timeout_s=self._settings.replay_timeout_s,
            tail_check_s=self._settings.tail_check_s,
        )
        await stream.run()

    async def _pause(self, reason: str, lasted_s: float) -> None:
        if lasted_s > CALM_S:
            self._pause_s = 0.0
        self._paused_for = reason
        await asyncio.sleep(self._pause_s)
        self._paused_for = ""
        self._pause_s = min(max(self._pause_s * 2, FIRST_PAUSE_S), MAX_PAUSE_S)
