"""Sends what changes in the mirror to NATS as KvDelta messages, numbered within an epoch.

A delta that NATS does not take is dropped: the sequence goes on, so whoever reads sees the gap and
loads a snapshot.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from farsight import subjects
from farsight.bus import Bus
from services.sidecar import metrics
from services.sidecar.changes import Change
from services.sidecar.wire import encode_delta

MAX_DELTA_BYTES = 256 * 1024
CHANGE_BYTES = 24  # a change without keys and spans
SPAN_BYTES = 10  # two varints of 5 bytes at most
MAX_PIECE_KEYS = (MAX_DELTA_BYTES - CHANGE_BYTES) // (8 + SPAN_BYTES)


def unix_ms() -> int:
    """Wall clock, Unix milliseconds."""
    return time.time_ns() // 1_000_000


class DeltaPublisher:
    """Deltas of one endpoint; `changed_blocks` counts canonical blocks sent in this epoch."""

    def __init__(
        self, bus: Bus, endpoint_id: str, *, clock_ms: Callable[[], int] = unix_ms
    ) -> None:
        self._bus = bus
        self._endpoint_id = endpoint_id
        self._subject = subjects.delta(endpoint_id)
        self._clock_ms = clock_ms
        self.epoch = 0
        self.seq = 0
        self.changed_blocks = 0

    def resume_after(self, epoch: int) -> None:
        """Number the next epoch higher than one that an earlier sidecar has used."""
        self.epoch = max(self.epoch, epoch)

    def begin(self) -> None:
        """Start a new epoch, higher than any before it."""
        self.epoch = max(self.epoch + 1, self._clock_ms())
        self.seq = 0
        self.changed_blocks = 0

    async def send(self, changes: Sequence[Change]) -> None:
        """Publish changes in order, in as few messages as their size allows."""
        parts = list(split(changes))
        first = self.seq + 1
        # All numbers are drawn before the first await: a snapshot never sees half of the changes.
        self.seq += len(parts)
        self.changed_blocks += sum(max(len(change.keys) // 8, 1) for change in changes)
        epoch = self.epoch
        for seq, part in enumerate(parts, first):
            payload = encode_delta(self._endpoint_id, epoch, seq, part, self._clock_ms())
            sent = await self._bus.publish(self._subject, payload, "kv-delta")
            metrics.deltas.labels("yes" if sent else "no").inc()
            if len(parts) > 1:
                await asyncio.sleep(0)  # encoding one delta is as long as the loop may wait


def split(changes: Sequence[Change]) -> Iterator[list[Change]]:
    """Changes in groups that encode to at most MAX_DELTA_BYTES each; larger ones are cut."""
    group: list[Change] = []
    room = MAX_DELTA_BYTES
    for change in changes:
        for piece in [change] if _size(change) <= room else _cut(change):
            size = _size(piece)
            if size > room:
                yield group
                group, room = [], MAX_DELTA_BYTES
            group.append(piece)
            room -= size
    if group:
        yield group


def _size(change: Change) -> int:
    """What a change takes in a delta at most, bytes."""
    return CHANGE_BYTES + len(change.keys) + SPAN_BYTES * len(change.spans) // 2


def _cut(change: Change) -> Iterator[Change]:
    """Pieces that fit into a delta, whatever their spans are."""
    keys = len(change.keys) // 8
    firsts = np.array(change.spans[::2], np.int64)
    ends = np.cumsum(np.array(change.spans[1::2], np.int64))
    for start in range(0, max(keys, 1), MAX_PIECE_KEYS):
        end = min(start + MAX_PIECE_KEYS, keys)
        # The spans that reach into the piece, each from where the piece or the span begins.
        within = slice(np.searchsorted(ends, start, "right"), np.searchsorted(ends, end) + 1)
        span_ends = ends[within]
        span_starts = np.concatenate(([start], span_ends[:-1])) if span_ends.size else span_ends
        skipped = span_starts - np.concatenate(([0], ends))[within]
        spans = np.stack((firsts[within] + skipped, np.minimum(span_ends, end) - span_starts), 1)
        packed = change.keys[8 * start : 8 * end]
        yield replace(change, keys=packed, spans=tuple(spans.ravel().tolist()))
