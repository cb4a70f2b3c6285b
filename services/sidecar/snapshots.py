"""Stores the whole mirror in the NATS object store, one object per endpoint, replaced each time.

Written when the blocks changed since the last one exceed a quarter of those held, or after
`max_age_s` with any change, and when an indexer asks. A request is answered with the last snapshot
when nothing has changed since, unless it asks for a fresh one; requests that come while one is
written share the next.

Objects have a time to live in their bucket, so that those of endpoints that are gone go too; a
snapshot without any change is written again before that.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from farsight import metrics as shared_metrics
from farsight.bus import Bus
from farsight.errors import BadRecord, BusUnavailable
from farsight.log import get_logger
from farsight.subjects import KV_BUCKET, OBJECT_TTL_S, token
from services.sidecar import metrics
from services.sidecar.holding import HeldKeys
from services.sidecar.publisher import unix_ms
from services.sidecar.wire import encode_snapshot, encode_snapshot_reply, wants_fresh_snapshot

log = get_logger(__name__)

CHANGED_SHARE = 0.25
MIN_CHANGED_BLOCKS = 1024
CHECK_S = 1.0
RENEW_S = OBJECT_TTL_S[KV_BUCKET] * 0.4
MAX_INLINE_BLOCKS = 32_768  # more are packed in a thread


@dataclass(frozen=True, slots=True)
class Position:
    """How far the deltas have come; `changed_blocks` counts within the epoch."""

    epoch: int
    seq: int
    changed_blocks: int
    block_count: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What an endpoint holds at a position."""

    position: Position
    held: Sequence[HeldKeys]


class Snapshots:
    """Snapshots of one endpoint.

    :param position: where the deltas are now; None while there is nothing to snapshot.
    :param contents: an instant with all keys; None where `position` is.
    :param renew_s: age at which an unchanged snapshot is written again.
    """

    def __init__(
        self,
        bus: Bus,
        endpoint_id: str,
        position: Callable[[], Position | None],
        contents: Callable[[], Awaitable[Contents | None]],
        *,
        max_age_s: float,
        min_interval_s: float,
        renew_s: float = RENEW_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus = bus
        self._endpoint_id = endpoint_id
        self.object_name = token(endpoint_id)
        self._position = position
        self._contents = contents
        self._max_age_s = max_age_s
        self._min_interval_s = min_interval_s
        self._renew_s = renew_s
        self._clock = clock
        self._last = Position(0, 0, 0, 0)
        self._last_at = float("-inf")
        self._taken = 0  # snapshots whose contents were asked for, and the last that was stored
        self._stored = 0
        self._writing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Write snapshots when they are due; never returns."""
        while True:
            await asyncio.sleep(CHECK_S)
            now = self._position()
            if now is not None and (trigger := self._due(now)):
                try:
                    await self._refresh(trigger)
                except BusUnavailable as error:
                    log.debug("snapshot not stored", extra={"error": str(error)})

    def _due(self, now: Position) -> str:
        """What makes a snapshot due; empty when nothing does."""
        age_s = self._clock() - self._last_at
        if (now.epoch, now.seq) == (self._last.epoch, self._last.seq):
            return "renewal" if age_s >= self._renew_s else ""
        before = self._last.changed_blocks if now.epoch == self._last.epoch else 0
        changed = now.changed_blocks - before
        many = max(now.block_count * CHANGED_SHARE, MIN_CHANGED_BLOCKS)
        return "due" if age_s >= self._max_age_s or changed > many else ""

    async def answer(self, request: bytes) -> bytes:
        """Where a snapshot lies that is at least as new as this request.

        :raises BusUnavailable: there is none yet, or it could not be stored.
        """
        try:
            is_fresh = wants_fresh_snapshot(request)
        except BadRecord as error:
            shared_metrics.bad_records.labels("snapshot-request").inc()
            raise BusUnavailable(str(error)) from error
        wanted = self._position()
        if wanted is None:
            raise BusUnavailable("the KV events are still being read")
        taken = self._taken
        while (self._last.epoch, self._last.seq) < (wanted.epoch, wanted.seq) or (
            is_fresh and self._stored <= taken
        ):
            await self._refresh("request")
        return encode_snapshot_reply(self.object_name, self._last.epoch, self._last.seq)

    async def _refresh(self, trigger: str) -> None:
        """Write a snapshot, or wait for the one that is being written."""
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(trigger))
            self._writing.add_done_callback(self._written)
        await asyncio.shield(self._writing)

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writing = None
        if not task.cancelled():
            task.exception()  # who waited has it; nobody may have waited to the end

    async def _write(self, trigger: str) -> None:
        await asyncio.sleep(self._last_at + self._min_interval_s - self._clock())
        taken = self._taken = self._taken + 1
        contents = await self._contents()
        if contents is None:
            raise BusUnavailable("the KV events are being read again")
        data = await self._pack(contents)
        try:
            await self._bus.put_object(KV_BUCKET, self.object_name, data)
        except BusUnavailable:
            metrics.snapshot_failures.inc()
            raise
        metrics.snapshots.labels(trigger).inc()
        metrics.snapshot_bytes.set(len(data))
        self._stored = taken
        self._last, self._last_at = contents.position, self._clock()

    async def _pack(self, contents: Contents) -> bytes:
        def pack() -> bytes:
            at = contents.position
            return encode_snapshot(self._endpoint_id, at.epoch, at.seq, contents.held, unix_ms())

        is_small = contents.position.block_count <= MAX_INLINE_BLOCKS
        return pack() if is_small else await asyncio.to_thread(pack)

    def forget(self) -> None:
        """What was stored may be gone: the next request gets a new snapshot."""
        self._last, self._last_at = Position(0, 0, 0, 0), float("-inf")

    async def remove(self) -> None:
        """Delete the object; the endpoint is going away."""
        if self._writing is not None:
            self._writing.cancel()
        try:
            await self._bus.delete_object(KV_BUCKET, self.object_name)
        except BusUnavailable as error:
            log.info("snapshot not deleted", extra={"error": str(error)})
