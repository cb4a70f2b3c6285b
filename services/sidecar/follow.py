"""Follows the KV cache of an engine process through its epochs.

An epoch ends when the stream has to be read again; the next one starts with the saved mirror, where
that belongs to the engine process, or with an empty one. Ends that come in quick succession are
answered with growing pauses.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import NoReturn, TypeVar

import zmq.asyncio

from farsight.errors import BadRecord
from farsight.log import get_logger
from services.sidecar import metrics
from services.sidecar.events import Batch
from services.sidecar.mirror import BlockLayout, Mirror
from services.sidecar.mirror_state import MirrorState
from services.sidecar.publisher import DeltaPublisher
from services.sidecar.saved_mirror import Moment, SavedMirror
from services.sidecar.settings import SidecarSettings
from services.sidecar.snapshots import MAX_INLINE_BLOCKS, Contents, Position
from services.sidecar.source import EventSource
from services.sidecar.status import Confidence, KvStatus
from services.sidecar.stream import BEGINNING, EnginePosition, KvStream, Resync
from services.sidecar.tracker import BadBatches, Tracker

log = get_logger(__name__)

Read = TypeVar("Read")

CALM_S = 60.0
MAX_EXPECTED_BLOCKS = 1 << 22
FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 30.0
NOT_OURS = frozenset({"engine-restarted", "ring-overrun", "sequence-backwards"})


class KvFollower:
    """KV state of one endpoint during one life of its engine.

    :param source: None when the engine publishes no events: the endpoint is APPROXIMATE then.
    :param device_blocks: blocks of the engine's own size on its device; 0 when it does not tell.
    :param on_epoch: called when a new epoch has begun.
    :param saved: None when the engine offers no replay to go on with.
    :param observe: called with each decoded batch.
    """

    def __init__(
        self,
        context: zmq.asyncio.Context,
        source: EventSource | None,
        layout: BlockLayout,
        publisher: DeltaPublisher,
        settings: SidecarSettings,
        device_blocks: int,
        on_epoch: Callable[[], None],
        *,
        saved: SavedMirror | None = None,
        observe: Callable[[Batch], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._source = source
        self._layout = layout
        self._publisher = publisher
        self._settings = settings
        self._device_blocks = device_blocks
        self._on_epoch = on_epoch
        self._saved = saved
        self._observe = observe
        self._clock = clock
        self._bad = BadBatches()
        self._pause_s = 0.0
        self._tracker = self._new_tracker(None)
        self._stream: KvStream | None = None
        self._paused_for = ""

    def _new_tracker(self, state: MirrorState | None) -> Tracker:
        """A tracker for a new epoch.

        :raises BadRecord: the state is of a mirror with other settings, or damaged.
        """
        settings, layout = self._settings, self._layout
        keys = self._device_blocks * layout.block_tokens // layout.key_block_tokens
        make = Mirror if state is None else partial(Mirror.restore, state=state)
        mirror = make(
            layout,
            max_blocks=settings.max_mirror_blocks,
            count_copies=settings.kv_report_mode == "new",
            offload_chunk_blocks=settings.kv_offload_chunk_blocks,
            drops_last_block=settings.kv_drops_last_block,
            expected_blocks=min(3 * keys // 2, MAX_EXPECTED_BLOCKS),  # a full cache is not crowded
            pool_blocks=max(self._device_blocks - 1, 0),  # the null block caches nothing
        )
        return Tracker(mirror, self._publisher, self._bad, self._observe)

    @property
    def status(self) -> KvStatus:
        """The state now."""
        epoch, seq = self._publisher.epoch, self._publisher.seq
        if self._source is None:
            return KvStatus(epoch, seq, Confidence.APPROXIMATE, "no-kv-events", 0)
        reason = self._paused_for or self._tracker.reason
        confidence = Confidence.DEGRADED if reason else Confidence.EXACT
        return KvStatus(
            epoch,
            seq,
            confidence,
            reason,
            self._tracker.block_count,
            self._tracker.rules,
            self._tracker.without_prefix_group,
        )

    def position(self) -> Position | None:
        """Where the deltas are; None while there is nothing to snapshot."""
        if self._source is None or not self._tracker.live:
            return None
        publisher = self._publisher
        return Position(
            publisher.epoch, publisher.seq, publisher.changed_blocks, self._tracker.block_count
        )

    async def contents(self) -> Contents | None:
        """All that is held at a position; None while there is nothing to snapshot."""
        if self._stream is None:
            return None
        async with self._stream.still:
            position, tracker = self.position(), self._tracker
            if position is None:
                return None
            return Contents(position, await self._at_rest(tracker.contents))

    def whole_at(self) -> EnginePosition | None:
        """How far the engine's batches have come; None while the mirror is not whole.

        None as well before there is a batch with a time, by which the engine could be known again.
        """
        if self._stream is None or self._tracker.reason:
            return None
        position = self._stream.position
        return None if position.last_engine_unix_s is None else position

    async def moment(self) -> Moment | None:
        """The mirror at `whole_at`; None while it is not whole."""
        if self._stream is None:
            return None
        async with self._stream.still:
            position, tracker = self.whole_at(), self._tracker
            if position is None:
                return None
            return Moment(position, await self._at_rest(tracker.export))

    async def _at_rest(self, read: Callable[[], Read]) -> Read:
        """Read the mirror while nobody changes it, in a thread when it is large."""
        if self._tracker.block_count <= MAX_INLINE_BLOCKS:
            return read()
        return await asyncio.to_thread(read)

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
                self._stream = None
                if self._saved is not None and ended in NOT_OURS:
                    self._saved.refuse(ended)
            log.warning("KV epoch ended", extra={"reason": ended})
            await self._pause(ended, self._clock() - began)

    async def _live_epoch(self) -> None:
        self._tracker = self._new_tracker(None)
        self._publisher.begin()
        self._on_epoch()
        if self._source is None:
            await asyncio.Event().wait()
            return
        start = BEGINNING if self._saved is None else await self._restore(self._saved)
        self._stream = KvStream(
            self._context,
            self._source,
            self._tracker,
            replay_timeout_s=self._settings.replay_timeout_s,
            tail_check_s=self._settings.tail_check_s,
            start=start,
        )
        await self._stream.run()

    async def _restore(self, saved: SavedMirror) -> EnginePosition:
        """Go on with the saved mirror where that can be; where the engine has to be read from."""
        moment = await saved.load()
        if moment is None:
            return BEGINNING
        try:
            self._tracker = await asyncio.to_thread(self._new_tracker, moment.state)
        except BadRecord as error:
            log.warning("saved mirror not usable", extra={"error": str(error)})
            saved.refuse("bad")
            return BEGINNING
        return moment.position

    async def _pause(self, reason: str, lasted_s: float) -> None:
        if lasted_s > CALM_S:
            self._pause_s = 0.0
        self._paused_for = reason
        await asyncio.sleep(self._pause_s)
        self._paused_for = ""
        self._pause_s = min(max(self._pause_s * 2, FIRST_PAUSE_S), MAX_PAUSE_S)
