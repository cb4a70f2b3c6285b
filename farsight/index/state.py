"""The index itself: which endpoint holds which block, and how far that can be trusted.

One task owns it. Deltas in order are applied at once; anything else asks for a snapshot through
`wants_snapshot`, and what was known stays in force, as DEGRADED, until the gap is closed.

EXACT speaks of device and host memory: the index holds what the endpoint held after its last delta.
Of shared storage it says what was announced and not removed since, by any member of the pool; a
snapshot announces again what its endpoint had announced.
"""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from farsight import table
from farsight.index import standings, wire
from farsight.index.budget import DEFAULT_BUDGET_BYTES
from farsight.index.lives import Lives
from farsight.index.loading import Loader
from farsight.index.match import Confidence, Matches
from farsight.index.matching import Matcher
from farsight.index.parts import SLICE_KEYS, IndexParts
from farsight.index.source import Source
from farsight.index.standings import Flaw
from farsight.index.tables import DEVICE, TIERS
from farsight.index.upkeep import Upkeep
from farsight.index.wire import Tier
from farsight.index.writing import Writer
from farsight.keys import Keys
from farsight.pb.events_pb2 import KvDelta, KvSnapshot, Load

Result = TypeVar("Result")


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
    """By tier: device, host, storage; all KV groups."""
    storage_pool: str


@dataclass(frozen=True, slots=True)
class Dump:
    """Everything that one endpoint holds after a delta."""

    epoch: int
    seq: int
    parts: Sequence[tuple[Tier, int, Keys]]
    """Tier, KV group and keys; group 0 of every tier is always there."""


class KvIndex:
    """Block key -> endpoints, per tier and KV group, with a confidence per endpoint.

    Without `IndexUpkeep`, whatever takes long is done at once, where it becomes necessary.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        wants_snapshot: Callable[[str], None],
        budget_bytes: int = DEFAULT_BUDGET_BYTES,
    ) -> None:
        self.parts = IndexParts(clock, wants_snapshot, budget_bytes)
        self._clock = clock
        self._wants_snapshot = wants_snapshot
        self._sources = self.parts.sources
        self._upkeep = Upkeep(self.parts)
        self._lives = Lives(self.parts)
        self._writer = Writer(self.parts, self._lives, self._make_room)
        self._loader = Loader(self.parts, self._lives, self._writer)
        self._matcher = Matcher(self.parts)

    def apply(self, delta: KvDelta) -> str:
        """Take one delta; returns what became of it.

        applied; late (known already); held (a snapshot is awaited); gap (one before it is missing);
        waiting (it is next, and will be applied when the tables can take it).

        :raises InvalidField: the delta is malformed.
        """
        changes = wire.changes_of(delta)
        source = self._lives.at(delta.endpoint_id, delta.epoch)
        seq = delta.seq
        if source is None or seq <= source.applied_seq:
            return "late"
        if seq == 1 and not source.is_based:
            self._lives.start(source)
        is_next = source.is_based and seq == source.applied_seq + 1
        if not is_next or not self._writer.advance(source, seq, changes):
            return self._hold(source, seq, changes)
        if source.pending:
            source.pending.take(seq)
            self._writer.drain(source, SLICE_KEYS)
        self._tidy()
        return "applied"

    def _hold(self, source: Source, seq: int, changes: Sequence[wire.Change]) -> str:
        self._sources.hold(source, seq, changes)
        source.announce(self._clock(), seq)
        self._writer.drain(source, SLICE_KEYS)
        if source.applied_seq >= seq:
            return "applied"
        if source.is_based and source.has_next:
            return "waiting"
        self._wants_snapshot(source.endpoint_id)
        return "gap" if source.is_based else "held"

    def heard(self, load: Load) -> None:
        """Take one heartbeat.

        :raises InvalidField: the heartbeat is malformed.
        """
        beat = wire.beat_of(load)
        source = self._lives.at(load.endpoint_id, load.epoch)
        if source is None:
            return
        self._lives.settle(source, beat)
        now = self._clock()
        if load.kv_seq == 0 and source.announced_seq == 0 and not source.is_based:
            self._lives.start(source)
        source.mirror_blocks = load.kv_blocks_held
        source.heartbeat(now, load.kv_seq, beat.confidence, beat.reason)
        self._writer.drain(source, SLICE_KEYS)
        if source.needs_snapshot(now):
            self._wants_snapshot(load.endpoint_id)
        self._tidy()
        if self.parts.pace.is_inline:
            self._upkeep.lift()

    async def replace(self, snapshot: KvSnapshot) -> bool:
        """Load a snapshot in slices, then what was held back; True when no delta is missing.

        What was known stays in force, and deltas go on, until the snapshot is loaded.

        :raises InvalidField: the snapshot is malformed.
        """
        try:
            return await self._loader.replace(snapshot)
        finally:
            self._tidy()

    def doubt(self, endpoint_id: str, epoch: int) -> None:
        """Somebody has found this life's blocks wrong: they count no more, a new snapshot does."""
        source = self._sources.find(endpoint_id)
        if source is None or source.epoch != epoch or source.is_doubted:
            return
        source.lose_base()
        source.is_doubted = True
        self.parts.note(source)
        self._wants_snapshot(endpoint_id)

    def wants_fresh(self, endpoint_id: str) -> bool:
        """Only a snapshot that is written anew will do."""
        source = self._sources.find(endpoint_id)
        return source is not None and source.is_doubted

    def drop(self, endpoint_id: str) -> None:
        """The endpoint is not this replica's any more."""
        source = self._sources.find(endpoint_id)
        if source is not None:
            self._lives.end(source)
            self._tidy()

    def forget_silent(self, limit_s: float) -> list[str]:
        """Drop endpoints without a heartbeat for `limit_s`; returns their ids."""
        now = self._clock()
        gone = [source for source in self._sources if now - source.heard_s > limit_s]
        for source in gone:
            self._lives.end(source)
        self._tidy()
        return [source.endpoint_id for source in gone]

    def match(self, keys: Keys, endpoint_ids: Sequence[str]) -> Matches:
        """Longest usable prefix of each endpoint; no ids: of every endpoint."""
        return self._matcher.match(keys, endpoint_ids)

    @property
    def paused(self) -> bool:
        """A thread reads the tables: deltas wait, which is no gap."""
        return self.parts.gate.is_closed

    async def dump(self, endpoint_id: str) -> Dump:
        """Everything that one endpoint holds.

        :raises InvalidField: the endpoint is unknown.
        """
        async with self.parts.gate.closed():
            source = self._sources.named(endpoint_id)
            epoch, seq, slot = source.epoch, source.applied_seq, source.slot
            return Dump(epoch, seq, await self.parts.pace.run(self.parts.tables.keys_of, slot))

    def report(self) -> list[SourceReport]:
        """Every endpoint's state."""
        sources = list(self._sources)
        rows = np.array([source.row for source in sources], np.int64)
        standing = self._sources.standings.of(rows, self._clock())
        tiers = [self.parts.tables.of_tier(tier) for tier in TIERS]
        columns = (standing.confidence, standing.flaws, standing.age_ms)
        return [
            SourceReport(
                source.endpoint_id,
                Confidence(confidence),
                Flaw(flaw).reason or source.sidecar_reason,
                source.epoch,
                source.applied_seq,
                source.announced_seq,
                age_ms,
                tuple(sum(table.held(source.slot) for table in tables) for tables in tiers),
                source.storage_pool,
            )
            for source, confidence, flaw, age_ms in zip(
                sources, *(column.tolist() for column in columns), strict=True
            )
        ]

    @property
    def size(self) -> tuple[int, int]:
        """Distinct device keys of group 0, and bytes of all tables."""
        device = self.parts.tables.find(DEVICE, 0)
        assert device is not None
        return device.stats.distinct_keys, self.parts.tables.table_bytes

    @property
    def budget_bytes(self) -> int:
        """Most bytes that the tables may take."""
        return self.parts.budget.budget_bytes

    def check_integrity(self) -> None:
        """Raise AssertionError when an invariant is broken."""
        self.parts.tables.check_integrity(source.slot for source in self._sources)

    async def tend(self) -> None:
        """Do some of what waits to be done; for `IndexUpkeep`."""
        await self._upkeep.tend(self._loader)

    def _make_room(self) -> None:
        _run_now(self._upkeep.make_room())

    def _tidy(self) -> None:
        """Without anybody to do it in the background: sweep a slice, merge, lift limits."""
        parts = self.parts
        if not parts.pace.is_inline or parts.gate.is_closed:
            return
        if parts.slots.is_dirty:
            parts.slots.sweep()
        if parts.work.called.is_set():
            parts.work.called.clear()
            _run_now(self._upkeep.merge())


def _run_now(work: Coroutine[Any, Any, Result]) -> Result:
    """Run what waits for nothing to its end."""
    try:
        work.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    raise RuntimeError("work at once has to wait")


def warm() -> None:
    """Compile or load every kernel of an index, so that no message waits for it."""
    table.warm()
    standings.warm()
