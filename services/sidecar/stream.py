"""Follows one engine rank's KV events: every batch once, in order, or the reason why not.

Subscribe first, then replay from 0, then merge by sequence number. A gap is filled by a replay from
the last batch, which must begin with that batch: the gap may be an engine that restarted unseen.
While nothing comes, the tail is checked in the same way, which finds batches that ZMQ dropped. A
batch that comes live ends the check: it goes first, and its number shows what is missing before it.
When check after check finds batches and none came live, the subscription is dead (the engine's
publisher connects instead of binding, or its port cannot be reached): the mirror is always late.

A stream may go on behind a batch that an earlier one has applied; the replay must begin with it.

What cannot be repaired in place ends the epoch with Resync, and a new stream starts.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import NoReturn, Protocol

import zmq
import zmq.asyncio

from farsight.log import get_logger
from services.sidecar import metrics
from services.sidecar.frames import Frame, parse_published
from services.sidecar.inbox import Inbox
from services.sidecar.replay import ReplaySilent, replay
from services.sidecar.source import EventSource

log = get_logger(__name__)

SLICE_S = 0.001
SILENT_CHECKS = 2


class Resync(Exception):
    """The stream has to be read from its beginning under a new epoch."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _LiveBatch(Exception):
    """A published batch has arrived."""


@dataclass(frozen=True, slots=True)
class EnginePosition:
    """How far an engine's batches have been applied: the next one, and the clock of the last."""

    next_seq: int = 0
    last_engine_unix_s: float | None = None


BEGINNING = EnginePosition()


class Sink(Protocol):
    """Who takes the batches. All methods are called from the stream's task."""

    def apply(self, frame: Frame) -> None:
        """Take the next batch.

        :raises Resync: it cannot be used and reading again may help.
        """

    def lose(self, reason: str) -> None:
        """Batches before the next one are missing for good."""

    def hears(self, live: bool) -> None:
        """Published batches arrive, or only replay brings what the engine has published."""

    async def flush(self) -> None:
        """A slice is done."""

    async def caught_up(self) -> None:
        """What the engine retains has been applied; batches are live from here on."""


class KvStream:
    """One subscription to one source.

    Whoever holds `still` sees a sink that stands still, with all that it took flushed.

    :param start: what the sink has taken already.
    """

    def __init__(
        self,
        context: zmq.asyncio.Context,
        source: EventSource,
        sink: Sink,
        *,
        replay_timeout_s: float,
        tail_check_s: float,
        start: EnginePosition = BEGINNING,
    ) -> None:
        self._context = context
        self._source = source
        self._sink = sink
        self._replay_timeout_s = replay_timeout_s
        self._tail_check_s = tail_check_s
        self._next = start.next_seq
        self._last_engine_s = start.last_engine_unix_s
        self._last_live = -1
        self._silent_checks = 0
        self.still = asyncio.Lock()

    @property
    def position(self) -> EnginePosition:
        """How far the sink has come."""
        return EnginePosition(self._next, self._last_engine_s)

    async def run(self) -> NoReturn:
        """Follow until cancelled.

        :raises Resync: the stream has to be read from its beginning.
        """
        with Inbox(self._context, zmq.SUB, self._source.events) as inbox:
            await self._catch_up()
            await self._sink.caught_up()
            while True:
                if await inbox.wait(self._tail_check_s):
                    await self._drain(inbox)
                else:
                    await self._check_tail(inbox)

    async def _catch_up(self) -> None:
        if self._source.replay is None:
            self._sink.lose("no-replay")
            return
        try:
            async with aclosing(self._retained(self._source.replay, self._next - 1)) as slices:
                await self._go_on(slices)
        except ReplaySilent as error:
            raise Resync("replay-silent") from error

    def _retained(self, address: str, start: int) -> AsyncGenerator[list[Frame]]:
        return replay(self._context, address, max(start, 0), self._replay_timeout_s)

    async def _go_on(self, slices: AsyncIterable[list[Frame]]) -> None:
        """Apply an answer that must begin with the last batch that was applied.

        :raises Resync: it does not.
        """
        is_confirmed = self._next == 0
        async for frames in slices:
            if frames and not is_confirmed:
                self._confirm(frames[0])
                is_confirmed = True
            async with self.still:
                await self._apply_slice(frames)
        if not is_confirmed:
            raise Resync("engine-restarted")

    async def _apply_slice(self, frames: Sequence[Frame]) -> None:
        """Apply what is new, and flush it; yields after each SLICE_S."""
        deadline = time.monotonic() + SLICE_S
        for frame in frames:
            if frame.seq >= self._next:
                self._apply(frame)
            if time.monotonic() > deadline:
                await asyncio.sleep(0)
                deadline = time.monotonic() + SLICE_S
        await self._sink.flush()

    def _confirm(self, frame: Frame) -> None:
        if frame.seq >= self._next:
            raise Resync("ring-overrun")
        if frame.engine_unix_s != self._last_engine_s:
            raise Resync("engine-restarted")

    def _apply(self, frame: Frame) -> None:
        if frame.seq != self._next:
            self._sink.lose("partial-replay")
        self._next = frame.seq + 1
        self._last_engine_s = frame.engine_unix_s
        self._sink.apply(frame)

    async def _drain(self, inbox: Inbox) -> None:
        """Take what has come, for SLICE_S at most."""
        async with self.still:
            deadline = time.monotonic() + SLICE_S
            while (message := inbox.take()) is not None:
                frame = parse_published(message)
                if frame is None:
                    metrics.bad_batches.labels("frames").inc()
                else:
                    await self._take(frame)
                if time.monotonic() > deadline:
                    break
            await self._sink.flush()
        await asyncio.sleep(0)

    async def _take(self, frame: Frame) -> None:
        if frame.seq <= self._last_live:
            raise Resync("sequence-backwards")
        self._last_live = frame.seq
        self._silent_checks = 0
        self._sink.hears(True)
        if frame.seq < self._next:
            if self._is_newer(frame):
                raise Resync("sequence-backwards")
            return
        if frame.seq > self._next:
            await self._fill_gap(frame.seq)
        if frame.seq == self._next:
            self._apply(frame)

    def _is_newer(self, frame: Frame) -> bool:
        """A batch that replay has brought already cannot be younger than the last one applied."""
        ours, theirs = self._last_engine_s, frame.engine_unix_s
        return ours is not None and theirs is not None and theirs > ours

    async def _fill_gap(self, until: int) -> None:
        metrics.gaps.inc()
        log.warning("gap in KV events", extra={"missing": until - self._next, "from": self._next})
        if self._source.replay is not None:
            try:
                async with aclosing(self._retained(self._source.replay, self._next - 1)) as slices:
                    async for frames in slices:
                        if frames and frames[0].seq < self._next:
                            self._confirm(frames[0])
                        await self._apply_slice(frames)
            except ReplaySilent as error:
                raise Resync("replay-silent") from error
        if self._next < until:
            self._sink.lose("gap")
            self._next = until

    async def _check_tail(self, inbox: Inbox) -> None:
        """Ask for the last batch again, and with it for all that came after it."""
        if self._source.replay is None:
            return
        known = self._next
        try:
            async with (
                aclosing(self._retained(self._source.replay, known - 1)) as answer,
                aclosing(_while_quiet(answer, inbox)) as slices,
            ):
                await self._go_on(slices)
        except ReplaySilent:
            metrics.replays.labels("silent").inc()
        except _LiveBatch:
            pass
        else:
            self._silent_checks += self._next > known
        metrics.gaps.inc(self._next - known)
        if self._silent_checks >= SILENT_CHECKS:
            self._sink.hears(False)


async def _while_quiet(
    answer: AsyncGenerator[list[Frame]], inbox: Inbox
) -> AsyncGenerator[list[Frame]]:
    """Slices of a replay, until a published batch arrives.

    :raises _LiveBatch: one has.
    """
    live = asyncio.ensure_future(inbox.wait(None))
    try:
        while True:
            next_slice = asyncio.ensure_future(_next(answer))
            try:
                await asyncio.wait({live, next_slice}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not next_slice.done():
                    next_slice.cancel()
                    await asyncio.wait({next_slice})
            if live.done():
                _ = next_slice.cancelled() or next_slice.exception()
                raise _LiveBatch
            if (frames := next_slice.result()) is None:
                return
            yield frames
    finally:
        live.cancel()


async def _next(answer: AsyncGenerator[list[Frame]]) -> list[Frame] | None:
    return await anext(answer, None)
