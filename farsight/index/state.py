"""The index itself: one table per tier, one `Source` per endpoint.

One task owns it. Deltas in order are applied at once; anything else asks for a snapshot through
`wants_snapshot`, and what was known stays in force, as DEGRADED, until the snapshot replaces it.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from farsight.errors import InvalidField
from farsight.index.match import Confidence, Matches
from farsight.index.source import Source
from farsight.keys import Keys, unpack
from farsight.pb import types_pb2
from farsight.pb.events_pb2 import KvChange, KvDelta, KvSnapshot, Load
from farsight.table import BlockTable

# Keys applied between two turns of the event loop: well under a millisecond.
SLICE_KEYS = 4096
MAX_ENDPOINTS = 4096
MAX_SNAPSHOT_KEYS = 1 << 26
TIERS = (types_pb2.TIER_DEVICE, types_pb2.TIER_HOST, types_pb2.TIER_STORAGE)


@dataclass(frozen=True, slots=True)
class SourceReport:
    """One endpoint, for status pages."""

    endpoint_id: str
    confidence: Confidence
    reason: str
    epoch: int
    applied_seq: int
    announced_seq: int
    age_ms: int
    blocks: tuple[int, ...]


class KvIndex:
    """Block key -> endpoints, per tier, with a confidence per endpoint."""

    def __init__(self, clock: Callable[[], float], wants_snapshot: Callable[[str], None]) -> None:
        self._clock = clock
        self._wants_snapshot = wants_snapshot
        self._tables = {tier: BlockTable() for tier in TIERS}
        self._sources: dict[str, Source] = {}
        self._held: dict[tuple[int, int], int] = {}  # (slot, tier) -> blocks
        self._free: list[int] = []
        self._slots = 0

    def _take_slot(self) -> int:
        if self._free:
            return self._free.pop()
        if self._slots >= MAX_ENDPOINTS:
            raise InvalidField("endpoint_id", f"at most {MAX_ENDPOINTS} endpoints")
        self._slots += 1
        return self._slots - 1

    def _release_slot(self, slot: int) -> None:
        for tier, table in self._tables.items():
            if self._held.pop((slot, tier), 0):
                table.clear(slot)
        self._free.append(slot)

    def _source(self, endpoint_id: str, epoch: int) -> Source | None:
        """The endpoint's source at this epoch; None when the message is of an earlier life."""
        source = self._sources.get(endpoint_id)
        if source is None:
            source = Source(endpoint_id, self._take_slot(), heard_s=self._clock())
            self._sources[endpoint_id] = source
        if epoch < source.epoch:
            return None
        if epoch > source.epoch:
            self._release_slot(source.slot)
            source.slot = self._take_slot()
            source.begin(epoch)
        return source

    def apply(self, delta: KvDelta) -> str:
        """Take one delta; returns what became of it: applied, late, held or gap.

        :raises InvalidField: the delta is malformed.
        """
        changes = [(c, unpack(c.keys, "changes.keys")) for c in delta.changes]
        source = self._source(delta.endpoint_id, delta.epoch)
        if source is None or delta.seq <= source.applied_seq:
            return "late"
        if not source.synced and delta.seq == 1:
            source.synced = True  # the first delta of a life follows an empty cache
        if source.synced and delta.seq == source.applied_seq + 1:
            self._apply_changes(source.slot, changes)
            source.applied_seq = delta.seq
            source.caught_up(self._clock())
            return "applied"
        source.hold(delta)
        if not source.synced:
            self._wants_snapshot(source.endpoint_id)
            return "held"
        source.synced = False
        self._wants_snapshot(source.endpoint_id)
        return "gap"

    def _apply_changes(self, slot: int, changes: Iterable[tuple[KvChange, Keys]]) -> None:
        for change, keys in changes:
            table = self._tables.get(change.tier)
            if table is None:
                continue  # an unknown tier counts as nothing
            at = (slot, change.tier)
            if change.action == KvChange.ACTION_STORE:
                self._held[at] = self._held.get(at, 0) + table.add(slot, keys)
            elif change.action == KvChange.ACTION_REMOVE:
                self._held[at] = self._held.get(at, 0) - table.remove(slot, keys)
            elif change.action == KvChange.ACTION_CLEAR:
                table.clear(slot)
                self._held[at] = 0

    def heard(self, load: Load) -> None:
        """Take one heartbeat."""
        source = self._source(load.endpoint_id, load.epoch)
        if source is None:
            return
        if not source.synced and load.kv_seq == 0:
            source.synced = True
        source.heartbeat(self._clock(), load.kv_seq, Confidence(load.kv_confidence), load.kv_reason)
        if source.lost_tail(self._clock()):
            source.synced = False
        if not source.synced:
            self._wants_snapshot(load.endpoint_id)

    async def replace(self, snapshot: KvSnapshot) -> bool:
        """Load a snapshot in slices, then what was held back; True when the endpoint is synced.

        :raises InvalidField: the snapshot is malformed.
        """
        tiers = [(t.tier, unpack(t.keys, "tiers.keys", MAX_SNAPSHOT_KEYS)) for t in snapshot.tiers]
        if sum(keys.size for _, keys in tiers) != snapshot.block_count:
            raise InvalidField("block_count", "the number of keys in the tiers")
        source = self._source(snapshot.endpoint_id, snapshot.epoch)
        if source is None or (source.synced and snapshot.seq <= source.applied_seq):
            return source is not None
        source.synced = False  # deltas that come meanwhile are held back
        slot = self._take_slot()
        for tier, keys in tiers:
            table = self._tables.get(tier)
            if table is None:
                continue
            for start in range(0, keys.size, SLICE_KEYS):
                added = table.add(slot, keys[start : start + SLICE_KEYS])
                self._held[slot, tier] = self._held.get((slot, tier), 0) + added
                await asyncio.sleep(0)
        if source.epoch != snapshot.epoch or self._sources.get(source.endpoint_id) is not source:
            self._release_slot(slot)  # a new life began meanwhile
            return False
        self._release_slot(source.slot)
        source.slot, source.applied_seq, source.synced = slot, snapshot.seq, True
        return self._catch_up(source)

    def _catch_up(self, source: Source) -> bool:
        """Apply what was held back while the snapshot was loaded."""
        held, source.pending = source.pending, {}
        for seq in sorted(held):
            if seq > source.applied_seq and self.apply(held[seq]) != "applied":
                return False
        source.caught_up(self._clock())
        return source.synced

    def forget_silent(self, limit_s: float) -> list[str]:
        """Drop endpoints without a heartbeat for `limit_s`; returns their ids."""
        now = self._clock()
        gone = [e for e, s in self._sources.items() if now - s.heard_s > limit_s]
        for endpoint_id in gone:
            self._release_slot(self._sources.pop(endpoint_id).slot)
        return gone

    def match(self, keys: Keys, endpoint_ids: Sequence[str]) -> Matches:
        """Longest contiguous prefix of each endpoint; no ids: of every endpoint."""
        wanted = endpoint_ids or tuple(self._sources)
        sources = [s for s in (self._sources.get(e) for e in wanted) if s is not None]
        if not sources:
            return Matches.nothing()
        slots = np.fromiter((s.slot for s in sources), np.intp, len(sources))
        device_table, host_table, storage_table = (self._tables[t] for t in TIERS)
        device = device_table.prefix_lengths(keys, self._slots)[slots]
        zero = np.zeros_like(device)
        host = storage = zero
        if not host_table.empty:
            host = device_table.prefix_lengths(keys, self._slots, also=host_table)[slots] - device
        if not storage_table.empty:
            reach = device_table.prefix_lengths(keys, self._slots, also=storage_table)[slots]
            storage = np.maximum(reach, device + host) - device - host
        now = self._clock()
        return Matches(
            tuple(s.endpoint_id for s in sources),
            device,
            host,
            storage,
            np.array([_age_ms(now, s) for s in sources], np.uint32),
            np.array([s.state(now)[0] for s in sources], np.uint8),
        )

    def dump(
        self, endpoint_id: str
    ) -> "tuple[int, int, list[tuple[types_pb2.Tier.ValueType, Keys]]]":
        """Epoch, sequence and keys per tier of one endpoint.

        :raises InvalidField: the endpoint is unknown.
        """
        source = self._sources.get(endpoint_id)
        if source is None:
            raise InvalidField("endpoint_id", f"one of {sorted(self._sources)}")
        held = [(tier, table.keys_of(source.slot)) for tier, table in self._tables.items()]
        return source.epoch, source.applied_seq, held

    def report(self) -> list[SourceReport]:
        """Every endpoint's state."""
        now = self._clock()
        return [
            SourceReport(
                s.endpoint_id,
                *s.state(now),
                s.epoch,
                s.applied_seq,
                s.announced_seq,
                _age_ms(now, s),
                tuple(self._held.get((s.slot, tier), 0) for tier in TIERS),
            )
            for s in self._sources.values()
        ]

    @property
    def size(self) -> tuple[int, int]:
        """Distinct device keys, and bytes of all tables."""
        stats = {tier: table.stats for tier, table in self._tables.items()}
        total = sum(s.table_bytes for s in stats.values())
        return stats[types_pb2.TIER_DEVICE].distinct_keys, total

    def check_integrity(self) -> None:
        """Raise AssertionError when an invariant is broken."""
        for tier, table in self._tables.items():
            table.check_integrity()
            for source in self._sources.values():
                held = table.keys_of(source.slot).size
                assert held == self._held.get((source.slot, tier), 0), source.endpoint_id


def _age_ms(now_s: float, source: Source) -> int:
    return (
        min(int((now_s - source.confirmed_s) * 1000), 2**32 - 1)
        if source.confirmed_s
        else 2**32 - 1
    )
