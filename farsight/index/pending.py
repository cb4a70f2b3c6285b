"""Deltas that wait: for a gap to close, for a snapshot, or for the tables to be writable."""

from collections.abc import Iterable, Sequence

from farsight import metrics
from farsight.index.wire import Change

# What one endpoint may keep waiting, and all of them together.
MAX_BYTES = 64 << 20
MAX_TOTAL_BYTES = 256 << 20
_DELTA_BYTES = 256  # objects around a delta and each of its changes
_KEPT_SHARE = 7 / 8  # of a bound that was passed, so that dropping is rare

pending_dropped = metrics.counter(
    "farsight_index_pending_dropped", "Waiting deltas dropped because too many waited"
)


class Total:
    """Bytes that wait over all endpoints."""

    def __init__(self) -> None:
        self.size_bytes = 0


class Pending:
    """Deltas of one endpoint by sequence number.

    Past a bound the oldest are dropped, which a snapshot covers soonest; the gap that they leave
    asks for one.
    """

    def __init__(self, total: Total) -> None:
        self._total = total
        self._deltas: dict[int, tuple[Sequence[Change], int]] = {}
        self.size_bytes = 0

    def __contains__(self, seq: int) -> bool:
        return seq in self._deltas

    def __len__(self) -> int:
        return len(self._deltas)

    def put(self, seq: int, changes: Sequence[Change]) -> None:
        """Keep a delta; its keys must stay as they are."""
        self.take(seq)
        size = _DELTA_BYTES + sum(
            _DELTA_BYTES + keys.nbytes + (0 if buckets is None else buckets.nbytes)
            for _, _, _, keys, buckets in changes
        )
        self._deltas[seq] = changes, size
        self._count(size)
        if self.size_bytes > MAX_BYTES:
            self.drop_oldest(MAX_BYTES)

    def take(self, seq: int) -> Sequence[Change] | None:
        """Take a delta out; None when it is not there."""
        found = self._deltas.pop(seq, None)
        if found is None:
            return None
        self._count(-found[1])
        return found[0]

    def forget_until(self, seq: int) -> None:
        """Drop the deltas up to `seq`: what they say is known."""
        for old in [s for s in self._deltas if s <= seq]:
            self.take(old)

    def clear(self) -> None:
        """Drop all."""
        self._deltas.clear()
        self._count(-self.size_bytes)

    def drop_oldest(self, limit_bytes: int) -> None:
        """Drop the lowest sequence numbers until seven eighths of the limit are kept."""
        for seq in sorted(self._deltas):
            if self.size_bytes <= limit_bytes * _KEPT_SHARE:
                break
            self.take(seq)
            pending_dropped.inc()

    def _count(self, size: int) -> None:
        self.size_bytes += size
        self._total.size_bytes += size


def bound(total: Total, endpoints: Iterable[Pending]) -> None:
    """Drop from those that keep most until all together are within their bound."""
    if total.size_bytes <= MAX_TOTAL_BYTES:
        return
    for pending in sorted(endpoints, key=lambda p: p.size_bytes, reverse=True):
        excess = total.size_bytes - MAX_TOTAL_BYTES
        if excess <= 0:
            break
        pending.drop_oldest(max(pending.size_bytes - excess, 0))
