"""Changes of an endpoint's cache go into the tables: a delta whole, or not yet."""

from collections.abc import Callable, Sequence

from farsight.index import budget
from farsight.index.lives import Lives
from farsight.index.parts import SMALL_TABLE_SLOTS, Clear, IndexParts, Need
from farsight.index.source import Source
from farsight.index.tables import STORAGE
from farsight.index.wire import CLEAR, STORE, Change, Tier
from farsight.keys import Keys
from farsight.positions import Buckets
from farsight.table import BlockTable


class Writer:
    """Applies deltas in order, while the tables may be written to and have room."""

    def __init__(self, parts: IndexParts, lives: Lives, attend: Callable[[], None]) -> None:
        self._parts = parts
        self._lives = lives
        self._attend = attend
        self._tables = parts.tables
        self._gate = parts.gate
        self._clock = parts.clock
        self._standings = parts.sources.standings

    def advance(self, source: Source, seq: int, changes: Sequence[Change]) -> bool:
        """Apply delta `seq`, the endpoint's next one; False when it has to wait."""
        if self._gate.is_closed or source.is_clearing:
            return False
        if not (len(changes) == 1 and self._store_at_once(source, changes[0])):
            if not self._is_ready(source, changes):
                return False
            for change in changes:
                self._write(source, change)
        source.applied_seq = seq
        source.announce(self._clock(), seq)
        if source.pending:
            self._standings.note(source)
        else:
            self._standings.note_progress(source)
        return True

    def drain(self, source: Source, max_keys: int) -> int:
        """Apply what waits and is next, up to about so many keys; returns how many there were."""
        done = 0
        pending = source.pending
        while source.is_based and done < max_keys:
            changes = pending.take(source.applied_seq + 1)
            if changes is None:
                break
            if not self.advance(source, source.applied_seq + 1, changes):
                pending.put(source.applied_seq + 1, changes)
                break
            done += 1 + sum(change[3].size for change in changes)
        self._standings.note(source)
        return done

    def can_store(self, source: Source, slot: int, table: BlockTable, added: int) -> bool:
        """There is room for so many keys of a slot; if not, somebody is told to make it."""
        if source.limit < 0 or budget.has_room(table, slot, added):
            return True
        shape = budget.shape_for(table, slot, added)
        pace = self._parts.pace
        is_small = pace.is_inline or shape.capacity * shape.planes <= SMALL_TABLE_SLOTS
        if is_small and self._parts.budget.affords(shape):
            return True  # the table grows by itself when the keys come
        self._parts.work.need_room(table, Need(slot, added, source))
        if not pace.is_inline:
            return False
        self._attend()
        return source.limit < 0 or budget.has_room(table, slot, added)

    def store(
        self, source: Source, slot: int, table: BlockTable, keys: Keys, buckets: Buckets | None
    ) -> None:
        """The slot holds the keys now, as far as the endpoint's limit allows."""
        if source.limit < 0:
            return  # nobody has made room: the table would grow
        table.add(slot, keys, buckets, source.limit)

    def _store_at_once(self, source: Source, change: Change) -> bool:
        """The usual delta: new blocks in a table that has room for them."""
        action, tier, group, keys, buckets = change
        if action != STORE:
            return False
        table = self._tables.find(tier, group)
        if table is None or not budget.has_room(table, source.slot, keys.size):
            return False
        self.store(source, source.slot, table, keys, buckets)
        return True

    def _is_ready(self, source: Source, changes: Sequence[Change]) -> bool:
        """All of the delta can be applied now without taking long."""
        added: dict[BlockTable, int] = {}
        for action, tier, group, keys, _ in changes:
            if action == STORE:
                table = self._tables.need(tier, group)
                if table is not None:
                    added[table] = added.get(table, 0) + keys.size
            elif action == CLEAR and not self._can_clear(source, tier, is_alone=len(changes) == 1):
                self._parts.work.need_clear(Clear(source, source.slot, tier))
                source.is_clearing = True
                self._parts.note(source)
                return False
        return all(self.can_store(source, source.slot, t, count) for t, count in added.items())

    def _write(self, source: Source, change: Change) -> None:
        action, tier, group, keys, buckets = change
        if action == CLEAR:
            self._clear(source, tier)
            return
        table = self._tables.find(tier, group)
        if table is None:
            return
        if action == STORE:
            self.store(source, source.slot, table, keys, buckets)
            return
        pool = self._parts.pools.of(source) if tier == STORAGE else None
        if pool is None:
            table.remove(source.slot, keys)
        else:
            table.remove_everywhere(pool.written_slots, keys)

    def _can_clear(self, source: Source, tier: Tier, is_alone: bool) -> bool:
        if self._parts.pace.is_inline:
            return True
        held = self._tables.held_on(tier, source.slot)
        if not held or (is_alone and held == self._tables.held(source.slot)):
            return True
        capacity = sum(table.capacity for table in self._tables.of_tier(tier))
        return capacity <= SMALL_TABLE_SLOTS

    def _clear(self, source: Source, tier: Tier) -> None:
        """The endpoint's own blocks of a tier are gone, those of every group."""
        held = self._tables.held_on(tier, source.slot)
        if held and held == self._tables.held(source.slot):
            self._lives.move(source, self._parts.slots.take())
            return
        for table in self._tables.of_tier(tier):
            if table.held(source.slot):
                table.clear(source.slot)
