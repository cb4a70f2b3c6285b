"""One endpoint's stream as the index follows it: epoch, sequence, heartbeat, confidence."""

from dataclasses import dataclass, field

from farsight.index.match import Confidence
from farsight.pb.events_pb2 import KvDelta

# A delta overtaken by the heartbeat that announces it is no gap yet.
IN_FLIGHT_GRACE_S = 0.3
# Heartbeats come a few times a second; without them nothing proves that the tail was not lost.
HEARTBEAT_LIMIT_S = 3.0
MAX_PENDING_DELTAS = 4096
NO_HEARTBEAT = "no heartbeat"


@dataclass(slots=True)
class Source:
    """State of one endpoint; owned by `KvIndex`.

    `is_based` says that the tables hold exactly what the endpoint held after delta `applied_seq`.
    """

    endpoint_id: str
    slot: int
    heard_s: float
    row: int
    """Of `Standings`."""
    epoch: int = 0
    applied_seq: int = 0
    announced_seq: int = 0
    is_based: bool = False
    sidecar_confidence: Confidence = Confidence.DEGRADED
    sidecar_reason: str = NO_HEARTBEAT
    confirmed_s: float | None = None
    behind_since_s: float | None = None
    awaited_seq: int = 0
    pending: dict[int, KvDelta] = field(default_factory=dict)

    def begin(self, epoch: int, slot: int) -> None:
        """A new life of the engine: nothing that was known holds."""
        self.epoch = epoch
        self.slot = slot
        self.applied_seq = 0
        self.announced_seq = 0
        self.is_based = False
        self.sidecar_confidence = Confidence.DEGRADED
        self.sidecar_reason = NO_HEARTBEAT
        self.confirmed_s = None
        self.behind_since_s = None
        self.pending.clear()

    def rebase(self, slot: int, seq: int) -> None:
        """A snapshot was loaded; deltas that it does not reach are as late as they were."""
        self.slot = slot
        self.applied_seq = seq
        self.is_based = True
        self.awaited_seq = self.announced_seq
        self.pending = {s: delta for s, delta in self.pending.items() if s > seq}

    def hold(self, delta: KvDelta) -> None:
        """Keep a delta until the gap before it is closed; the oldest are dropped first."""
        self.pending[delta.seq] = delta
        while len(self.pending) > MAX_PENDING_DELTAS:
            del self.pending[min(self.pending)]

    def take_next(self) -> KvDelta | None:
        """The delta that was held and is next now."""
        return self.pending.pop(self.applied_seq + 1, None)

    def heartbeat(self, now_s: float, seq: int, confidence: Confidence, reason: str) -> None:
        """The sidecar says which delta it sent last and what it thinks of its mirror."""
        if seq == 0 and self.announced_seq == 0:
            self.is_based = True  # a life begins with an empty cache
        self.heard_s = now_s
        self.sidecar_confidence = confidence
        self.sidecar_reason = reason
        self.announce(now_s, seq)

    def announce(self, now_s: float, seq: int) -> None:
        """Somebody has seen delta `seq`."""
        self.announced_seq = max(self.announced_seq, seq)
        self.progress(now_s)

    def progress(self, now_s: float) -> None:
        """Note whether everything that was announced has been applied, or since when not."""
        if self.is_based and self.applied_seq >= self.announced_seq:
            self.confirmed_s = now_s
            self.behind_since_s = None
        elif self.behind_since_s is None or self.applied_seq >= self.awaited_seq:
            self.behind_since_s = now_s
            self.awaited_seq = self.announced_seq

    def has_gap(self, now_s: float) -> bool:
        """A delta was announced, or a later one came, and it is not there."""
        if self.pending:
            return True
        late_since_s = self.behind_since_s
        return late_since_s is not None and now_s - late_since_s > IN_FLIGHT_GRACE_S

    def state(self, now_s: float) -> tuple[Confidence, str]:
        """Confidence, and the reason when it is not EXACT."""
        if not self.is_based:
            return Confidence.DEGRADED, "waiting for a snapshot"
        if now_s - self.heard_s > HEARTBEAT_LIMIT_S:
            return Confidence.DEGRADED, NO_HEARTBEAT
        if self.has_gap(now_s):
            return Confidence.DEGRADED, "gap"
        return self.sidecar_confidence, self.sidecar_reason
