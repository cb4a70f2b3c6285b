"""One endpoint's stream as the index follows it: epoch, sequence, heartbeat, what it waits for."""

import math
from dataclasses import dataclass, field

from farsight.index.match import Confidence
from farsight.index.pending import Pending
from farsight.index.standings import NO_HEARTBEAT, Flaw, is_overdue
from farsight.index.wire import PLAIN, Layout
from farsight.positions import UNKNOWN

# No bucket is refused.
NO_LIMIT = UNKNOWN


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """A snapshot that is being loaded."""

    slot: int
    is_own: bool
    """The slot is the endpoint's present one, which was empty."""


@dataclass(slots=True, eq=False)
class Source:
    """State of one endpoint; owned by `KvIndex`.

    `is_based` says that the tables hold exactly what the endpoint held after delta `applied_seq`,
    short of buckets above `limit`.
    """

    endpoint_id: str
    slot: int
    heard_s: float
    row: int
    """Of `Standings`."""
    pending: Pending
    epoch: int = 0
    applied_seq: int = 0
    announced_seq: int = 0
    is_based: bool = False
    needed_seq: int = 0
    """Without a base: a snapshot must contain this delta."""
    is_doubted: bool = False
    """What is known was found wrong: a snapshot must be written anew."""
    is_clearing: bool = False
    """A tier is being emptied; the delta that says so waits."""
    limit: int = NO_LIMIT
    """Last bucket of positions that is kept; -1: nothing is."""
    sidecar_confidence: Confidence = Confidence.DEGRADED
    sidecar_reason: str = NO_HEARTBEAT
    mirror_blocks: int = 0
    """Keys of the sidecar's mirror at the last heartbeat, all tiers and groups."""
    layout: Layout = PLAIN
    storage_pool: str = ""
    confirmed_s: float = -math.inf
    behind_since_s: float = math.inf
    awaited_seq: int = 0
    loads: list[Load] = field(default_factory=list)
    """Snapshots on their way into the tables."""

    def begin(self, epoch: int, slot: int) -> None:
        """A new life of the engine: nothing that was known holds, but how it keeps its cache."""
        self.epoch = epoch
        self.slot = slot
        self.applied_seq = 0
        self.announced_seq = 0
        self.sidecar_confidence = Confidence.DEGRADED
        self.sidecar_reason = NO_HEARTBEAT
        self.mirror_blocks = 0
        self.confirmed_s = -math.inf
        self.behind_since_s = math.inf
        self.limit = NO_LIMIT
        self.pending.clear()
        self.loads.clear()
        self._set_base(False)

    def _set_base(self, is_based: bool, needed_seq: int = 0) -> None:
        self.is_based = is_based
        self.needed_seq = needed_seq
        self.is_doubted = False
        self.is_clearing = False

    def lose_base(self) -> None:
        """What is known is not all, or wrong: a snapshot from this point on must replace it."""
        self.loads.clear()
        self._set_base(False, max(self.needed_seq, self.applied_seq))

    def start(self) -> None:
        """The cache is known to be empty at delta 0, and so is the slot."""
        self.loads = [load for load in self.loads if not load.is_own]
        self._set_base(True)

    def accepts(self, seq: int) -> bool:
        """A snapshot after delta `seq` says more than what is known."""
        return seq > self.applied_seq if self.is_based else seq >= self.needed_seq

    def rebase(self, seq: int) -> None:
        """A snapshot was loaded; deltas that it does not reach are as late as they were."""
        self.applied_seq = seq
        self._set_base(True)
        self.awaited_seq = self.announced_seq
        self.pending.forget_until(seq)

    def heartbeat(self, now_s: float, seq: int, confidence: Confidence, reason: str) -> None:
        """The sidecar says which delta it sent last and what it thinks of its mirror."""
        self.heard_s = now_s
        self.sidecar_confidence = confidence
        self.sidecar_reason = reason
        self.announce(now_s, seq)

    def announce(self, now_s: float, seq: int) -> None:
        """Somebody has seen delta `seq`."""
        if seq > self.announced_seq:
            self.announced_seq = seq
        self.progress(now_s)

    def progress(self, now_s: float) -> None:
        """Note whether everything that was announced has been applied, or since when not."""
        if self.is_based and self.applied_seq >= self.announced_seq:
            self.confirmed_s = now_s
            self.behind_since_s = math.inf
        elif self.behind_since_s == math.inf or self.applied_seq >= self.awaited_seq:
            self.behind_since_s = now_s
            self.awaited_seq = self.announced_seq

    @property
    def own_slots(self) -> list[int]:
        """Its slot, and those that snapshots are loaded into."""
        return [self.slot, *(load.slot for load in self.loads if not load.is_own)]

    @property
    def has_next(self) -> bool:
        """The next delta is there and only waits to be applied."""
        return self.applied_seq + 1 in self.pending

    @property
    def late_since_s(self) -> float:
        """Since when an announced delta is missing: -inf when a later one came, inf when none."""
        if self.pending and not self.has_next:
            return -math.inf
        return self.behind_since_s

    def needs_snapshot(self, now_s: float) -> bool:
        """What is known cannot be brought forward: no base, or a delta did not come in time."""
        if not self.is_based:
            return True
        return not self.has_next and is_overdue(self.late_since_s, now_s)

    @property
    def flaw(self) -> Flaw:
        """Why it is not EXACT whatever the time is."""
        if not self.is_based:
            return Flaw.WAITING
        if self.is_clearing:
            return Flaw.CLEARING
        return Flaw.NONE if self.limit >= NO_LIMIT else Flaw.BUDGET
