"""One endpoint's stream as the index follows it: epoch, sequence, heartbeat, confidence."""

from dataclasses import dataclass, field

from farsight.index.match import Confidence
from farsight.pb.events_pb2 import KvDelta

# A delta overtaken by the heartbeat that announces it is no gap yet.
IN_FLIGHT_GRACE_S = 0.3
# Heartbeats come a few times a second; without them nothing proves that the tail was not lost.
HEARTBEAT_LIMIT_S = 3.0
MAX_PENDING_DELTAS = 4096


@dataclass(slots=True)
class Source:
    """State of one endpoint; owned by `KvIndex`."""

    endpoint_id: str
    slot: int
    epoch: int = 0
    applied_seq: int = 0
    announced_seq: int = 0
    synced: bool = False
    sidecar_confidence: Confidence = Confidence.EXACT
    sidecar_reason: str = ""
    heard_s: float = 0.0
    confirmed_s: float = 0.0
    behind_since_s: float | None = None
    pending: dict[int, KvDelta] = field(default_factory=dict)

    def begin(self, epoch: int) -> None:
        """A new life of the engine: nothing that was known holds."""
        self.epoch = epoch
        self.applied_seq = 0
        self.announced_seq = 0
        self.synced = False
        self.behind_since_s = None
        self.pending.clear()

    def hold(self, delta: KvDelta) -> None:
        """Keep a delta until a snapshot closes the gap before it; the oldest are dropped first."""
        self.pending[delta.seq] = delta
        while len(self.pending) > MAX_PENDING_DELTAS:
            del self.pending[min(self.pending)]

    def heartbeat(self, now_s: float, seq: int, confidence: Confidence, reason: str) -> None:
        """The sidecar says which delta it sent last and what it thinks of its mirror."""
        self.heard_s = now_s
        self.announced_seq = max(self.announced_seq, seq)
        self.sidecar_confidence = confidence
        self.sidecar_reason = reason
        self.caught_up(now_s)

    def caught_up(self, now_s: float) -> None:
        """Note whether everything that was announced has been applied."""
        if self.synced and self.applied_seq >= self.announced_seq:
            self.confirmed_s = now_s
            self.behind_since_s = None
        elif self.behind_since_s is None:
            self.behind_since_s = now_s

    def lost_tail(self, now_s: float) -> bool:
        """A delta was announced and did not come."""
        return (
            self.synced
            and self.behind_since_s is not None
            and now_s - self.behind_since_s > IN_FLIGHT_GRACE_S
        )

    def state(self, now_s: float) -> tuple[Confidence, str]:
        """Confidence, and the reason when it is not EXACT."""
        if not self.synced:
            return Confidence.DEGRADED, "waiting for a snapshot"
        if now_s - self.heard_s > HEARTBEAT_LIMIT_S:
            return Confidence.DEGRADED, "no heartbeat"
        if self.lost_tail(now_s):
            return Confidence.DEGRADED, "gap"
        if self.sidecar_confidence is not Confidence.EXACT:
            return self.sidecar_confidence, self.sidecar_reason
        return Confidence.EXACT, ""
