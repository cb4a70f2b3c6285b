"""A reader of one endpoint's deltas, heartbeats and snapshots: the least that an index does."""

from farsight import subjects
from farsight.bus import Bus
from farsight.pb.events_pb2 import KvChange, KvDelta, KvSnapshot, KvSnapshotReply, Load
from farsight.pb.types_pb2 import Confidence, Tier

MAX_SNAPSHOT_BYTES = 64 * 1024 * 1024


def keys_in(packed: bytes) -> set[bytes]:
    """Packed keys as a set of 8 bytes each."""
    return {packed[at : at + 8] for at in range(0, len(packed), 8)}


class KvReader:
    """Applies the deltas of the newest epoch; `missed` counts holes in their numbers."""

    def __init__(self, bus: Bus, endpoint_id: str) -> None:
        self._bus = bus
        self._endpoint_id = endpoint_id
        self.epoch = 0
        self.seq = 0
        self.missed = 0
        self.deltas = 0
        self.tiers: dict[int, set[bytes]] = {}
        self.load = Load()
        bus.subscribe(subjects.delta(endpoint_id), self._on_delta)
        bus.subscribe(subjects.load(endpoint_id), self._on_load)

    @property
    def device(self) -> set[bytes]:
        """Keys held on the device."""
        return self.tiers.get(Tier.TIER_DEVICE, set())

    @property
    def is_exact(self) -> bool:
        """The sidecar says EXACT and everything that it sent has arrived."""
        return (
            self.load.kv_confidence == Confidence.CONFIDENCE_EXACT
            and (self.load.epoch, self.load.kv_seq) == (self.epoch, self.seq)
            and self.load.kv_blocks_held == sum(map(len, self.tiers.values()))
        )

    def _on_load(self, _subject: str, payload: bytes) -> None:
        self.load = Load.FromString(payload)
        self._begin(self.load.epoch)

    def _begin(self, epoch: int) -> None:
        if epoch > self.epoch:
            self.epoch, self.seq, self.tiers = epoch, 0, {}

    def _on_delta(self, _subject: str, payload: bytes) -> None:
        delta = KvDelta.FromString(payload)
        self._begin(delta.epoch)
        self.missed += delta.seq - self.seq - 1
        self.seq = delta.seq
        self.deltas += 1
        for change in delta.changes:
            held = self.tiers.setdefault(change.tier, set())
            if change.action == KvChange.ACTION_STORE:
                held |= keys_in(change.keys)
            elif change.action == KvChange.ACTION_REMOVE:
                held -= keys_in(change.keys)
            else:
                held.clear()

    async def ask_snapshot(self) -> tuple[KvSnapshotReply, KvSnapshot]:
        """Request a snapshot and load it."""
        answer = await self._bus.request(subjects.snapshot(self._endpoint_id), b"", 5)
        reply = KvSnapshotReply.FromString(answer)
        data = await self._bus.get_object(subjects.KV_BUCKET, reply.object_name, MAX_SNAPSHOT_BYTES)
        assert data is not None
        return reply, KvSnapshot.FromString(data)
