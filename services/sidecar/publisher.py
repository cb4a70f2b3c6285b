"""Sends what changes in the mirror to NATS as KvDelta messages, numbered within an epoch.

A delta that NATS does not take is dropped: the sequence goes on, so whoever reads sees the gap and
loads a snapshot.
"""

import time
from collections.abc import Callable, Iterator, Sequence

from farsight import subjects
from farsight.bus import Bus
from services.sidecar import metrics
from services.sidecar.changes import Action, Change
from services.sidecar.wire import encode_delta

MAX_DELTA_KEY_BYTES = 256 * 1024


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
        payloads = []
        # All numbers are drawn before the first await: a snapshot never sees half of the changes.
        for part in split(changes):
            self.seq += 1
            self.changed_blocks += sum(max(len(change.keys) // 8, 1) for change in part)
            payloads.append(
                encode_delta(self._endpoint_id, self.epoch, self.seq, part, self._clock_ms())
            )
        for payload in payloads:
            sent = await self._bus.publish(self._subject, payload, "kv-delta")
            metrics.deltas.labels("yes" if sent else "no").inc()


def split(changes: Sequence[Change]) -> Iterator[list[Change]]:
    """Changes in groups of at most MAX_DELTA_KEY_BYTES of keys; larger ones are cut."""
    group: list[Change] = []
    room = MAX_DELTA_KEY_BYTES
    for change in changes:
        at = 0
        while at < len(change.keys) or change.action is Action.CLEAR:
            piece = change.keys[at : at + room]
            group.append(Change(change.action, change.tier, piece))
            at += len(piece)
            room -= len(piece)
            if room <= 0:
                yield group
                group, room = [], MAX_DELTA_KEY_BYTES
            if change.action is Action.CLEAR:
                break
    if group:
        yield group
