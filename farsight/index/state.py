"""The index itself: one table per tier, one `Source` per endpoint.

One task owns it. Deltas in order are applied at once; anything else asks for a snapshot through
`wants_snapshot`, and what was known stays in force, as DEGRADED, until the gap is closed.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farsight.discovery import ENDPOINT_ID
from farsight.errors import InvalidField
from farsight.index import wire
from farsight.index.match import Confidence, Matches
from farsight.index.source import Source
from farsight.index.standings import MAX_AGE_MS, Standings
from farsight.keys import Keys, unpack
from farsight.pb import types_pb2
from farsight.pb.events_pb2 import KvChange, KvDelta, KvSnapshot, Load
from farsight.table import BlockTable

# Keys applied between two turns of the event loop: well under a millisecond.
SLICE_KEYS = 4096
MAX_ENDPOINTS = 4096
MAX_ROSTERS = 64
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
        self._tables: dict[wire.Tier, BlockTable] = {tier: BlockTable() for tier in TIERS}
        self._sources: dict[str, Source] = {}
        self._standings = Standings()
        self._rosters: dict[tuple[str, ...], tuple[tuple[str, ...], npt.NDArray[np.intp]]] = {}
        self._held: dict[tuple[int, int], int] = {}  # (slot, tier) -> blocks
        self._free: list[int] = []
        self._slots = 0

    def _take_slot(self) -> int:
        if self._free:
            return self._free.pop()
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
            source = self._add_source(endpoint_id)
        if epoch < source.epoch:
            return None
        if epoch > source.epoch:
            self._release_slot(source.slot)
            source.begin(epoch, self._take_slot())
            self._standings.note(source)
        return source

    def _add_source(self, endpoint_id: str) -> Source:
        if not ENDPOINT_ID.fullmatch(endpoint_id):
            raise InvalidField("endpoint_id", ENDPOINT_ID.pattern)
        if len(self._sources) >= MAX_ENDPOINTS:
            raise InvalidField("endpoint_id", f"at most {MAX_ENDPOINTS} endpoints")
        row = self._standings.take_row()
        source = Source(endpoint_id, self._take_slot(), self._clock(), row)
        self._sources[endpoint_id] = source
        self._rosters.clear()
        self._standings.note(source)
        return source

    def apply(self, delta: KvDelta) -> str:
        """Take one delta; returns what became of it: applied, late, held or gap.

        :raises InvalidField: the delta is malformed.
        """
        changes = wire.changes_of(delta)
        source = self._source(delta.endpoint_id, delta.epoch)
        if source is None or delta.seq <= source.applied_seq:
            return "late"
        if delta.seq == 1:
            source.is_based = True  # the first delta of a life follows an empty cache
        if source.is_based and delta.seq == source.applied_seq + 1:
            self._advance(source, delta.seq, changes)
            while (held := source.take_next()) is not None:
                self._advance(source, held.seq, wire.changes_of(held))
            return "applied"
        source.hold(delta)
        source.announce(self._clock(), delta.seq)
        self._standings.note(source)
        self._wants_snapshot(source.endpoint_id)
        return "gap" if source.is_based else "held"

    def _advance(self, source: Source, seq: int, changes: wire.Changes) -> None:
        self._apply_changes(source.slot, changes)
        source.applied_seq = seq
        source.announce(self._clock(), seq)
        self._standings.note(source)

    def _apply_changes(self, slot: int, changes: wire.Changes) -> None:
        for action, tier, keys in changes:
            table = self._tables.get(tier)
            if table is None:
                continue
            at = (slot, tier)
            if action == KvChange.ACTION_STORE:
                self._held[at] = self._held.get(at, 0) + table.add(slot, keys)
            elif action == KvChange.ACTION_REMOVE:
                self._held[at] = self._held.get(at, 0) - table.remove(slot, keys)
            else:
                table.clear(slot)
                self._held[at] = 0

    def heard(self, load: Load) -> None:
        """Take one heartbeat.

        :raises InvalidField: the heartbeat is malformed.
        """
        confidence, reason = wire.opinion_of(load)
        source = self._source(load.endpoint_id, load.epoch)
        if source is None:
            return
        now = self._clock()
        source.heartbeat(now, load.kv_seq, confidence, reason)
        self._standings.note(source)
        if not source.is_based or source.has_gap(now):
            self._wants_snapshot(load.endpoint_id)

    async def replace(self, snapshot: KvSnapshot) -> bool:
        """Load a snapshot in slices, then what was held back; True when no delta is missing.

        What was known stays in force, and deltas go on, until the snapshot is loaded.

        :raises InvalidField: the snapshot is malformed.
        """
        tiers = [(t.tier, unpack(t.keys, "tiers.keys", MAX_SNAPSHOT_KEYS)) for t in snapshot.tiers]
        if sum(keys.size for _, keys in tiers) != snapshot.block_count:
            raise InvalidField("block_count", "the number of keys in the tiers")
        source = self._source(snapshot.endpoint_id, snapshot.epoch)
        if source is None:
            return False
        source.announce(self._clock(), snapshot.seq)
        self._standings.note(source)
        if not source.is_based or snapshot.seq > source.applied_seq:
            slot = self._take_slot()
            await self._fill(slot, tiers)
            if self._is_over(source, snapshot.epoch):
                self._release_slot(slot)
                return False
            if source.is_based and source.applied_seq >= snapshot.seq:
                self._release_slot(slot)  # the deltas were faster
            else:
                self._release_slot(source.slot)
                source.rebase(slot, snapshot.seq)
                source.progress(self._clock())
        self._standings.note(source)
        return await self._catch_up(source)

    async def _fill(self, slot: int, tiers: Iterable[tuple[wire.Tier, Keys]]) -> None:
        for tier, keys in tiers:
            table = self._tables.get(tier)
            if table is None:
                continue
            for start in range(0, keys.size, SLICE_KEYS):
                added = table.add(slot, keys[start : start + SLICE_KEYS])
                self._held[slot, tier] = self._held.get((slot, tier), 0) + added
                await asyncio.sleep(0)

    def _is_over(self, source: Source, epoch: int) -> bool:
        """A new life began, or the endpoint was forgotten."""
        return source.epoch != epoch or self._sources.get(source.endpoint_id) is not source

    async def _catch_up(self, source: Source) -> bool:
        """Apply what was held back and is next now."""
        epoch = source.epoch
        done_keys = 0
        while not self._is_over(source, epoch) and (held := source.take_next()) is not None:
            changes = wire.changes_of(held)
            self._advance(source, held.seq, changes)
            done_keys += sum(keys.size for _, _, keys in changes) + 1
            if done_keys > SLICE_KEYS:
                done_keys = 0
                await asyncio.sleep(0)
        return not self._is_over(source, epoch) and not source.has_gap(self._clock())

    def forget_silent(self, limit_s: float) -> list[str]:
        """Drop endpoints without a heartbeat for `limit_s`; returns their ids."""
        now = self._clock()
        gone = [e for e, s in self._sources.items() if now - s.heard_s > limit_s]
        for endpoint_id in gone:
            source = self._sources.pop(endpoint_id)
            self._release_slot(source.slot)
            self._standings.give_back(source.row)
            self._rosters.clear()
        return gone

    def match(self, keys: Keys, endpoint_ids: Sequence[str]) -> Matches:
        """Longest contiguous prefix of each endpoint; no ids: of every endpoint."""
        known, rows = self._known(tuple(endpoint_ids or self._sources))
        if not known:
            return Matches.nothing()
        standing = self._standings.of(rows, self._clock())
        slots = standing.slots
        device_table, host_table, storage_table = (self._tables[t] for t in TIERS)
        device = device_table.prefix_lengths(keys, self._slots)[slots]
        host = storage = np.zeros_like(device)
        if not host_table.empty:
            host = device_table.prefix_lengths(keys, self._slots, (host_table,))[slots] - device
        if not storage_table.empty:
            lower = (host_table, storage_table)
            reach = device_table.prefix_lengths(keys, self._slots, lower)[slots]
            storage = reach - device - host
        return Matches(known, device, host, storage, standing.age_ms, standing.confidence)

    def _known(self, wanted: tuple[str, ...]) -> tuple[tuple[str, ...], npt.NDArray[np.intp]]:
        """Those of the endpoints that there are, and their rows; the same rosters come again."""
        found = self._rosters.get(wanted)
        if found is None:
            if len(self._rosters) >= MAX_ROSTERS:
                self._rosters.clear()
            # The roster's own tuple where it can be, so that the caller sees at once what it is.
            is_whole = all(e in self._sources for e in wanted)
            known = wanted if is_whole else tuple(e for e in wanted if e in self._sources)
            rows = np.array([self._sources[e].row for e in known], np.intp)
            found = self._rosters[wanted] = known, rows
        return found

    def dump(self, endpoint_id: str) -> tuple[int, int, list[tuple[wire.Tier, Keys]]]:
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
    if source.confirmed_s is None:
        return MAX_AGE_MS
    return min(int((now_s - source.confirmed_s) * 1000), MAX_AGE_MS)
