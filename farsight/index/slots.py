"""Slots of the tables: who gets one, and how one that was given back becomes clean again.

A slot is given back in no time; its blocks count for nothing from then on, because no endpoint has
the slot. They are swept out a slice at a time, and only then the slot is given to the next.
"""

import heapq
from collections.abc import Mapping, Sequence

from farsight.index.tables import Tables
from farsight.table_sweep import Sweep

# Table slots looked at in one slice: well under a millisecond.
SLICE_TABLE_SLOTS = 16384


class _Cycle:
    """One sweep over every table that holds a block to be taken away."""

    def __init__(self, tables: Tables, dead: Sequence[int], limits: Mapping[int, int]) -> None:
        self.dead = dead
        self.limits = limits
        self._sweeps: list[Sweep] = []
        for table in tables.all:
            dead_here = [slot for slot in dead if table.held(slot)]
            limited = {slot: last for slot, last in limits.items() if table.held(slot)}
            if dead_here or limited:
                self._sweeps.append(Sweep(table, dead_here, limited))

    def step(self, table_slots: int) -> bool:
        """Go on; True at the end."""
        if self._sweeps and self._sweeps[-1].step(table_slots):
            self._sweeps.pop()
        return not self._sweeps


class Slots:
    """Gives out slots, the lowest clean one first."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._clean: list[int] = []
        self._count = 0
        self._dead: list[int] = []
        self._limits: dict[int, int] = {}
        self._cycle: _Cycle | None = None

    @property
    def count(self) -> int:
        """Slots that were ever given out are below this."""
        return self._count

    @property
    def is_dirty(self) -> bool:
        """There is something to sweep."""
        return self._cycle is not None or bool(self._dead) or bool(self._limits)

    def take(self) -> int:
        """A slot without blocks."""
        if self._clean:
            return heapq.heappop(self._clean)
        self._count += 1
        return self._count - 1

    def release(self, slot: int) -> None:
        """Nobody has the slot any more."""
        self._limits.pop(slot, None)
        # Even when it is empty, a sweep that is under way would limit the next to have it.
        is_limited = self._cycle is not None and slot in self._cycle.limits
        if is_limited or self._tables.held(slot):
            self._dead.append(slot)
        else:
            heapq.heappush(self._clean, slot)

    def limit(self, slot: int, last_bucket: int) -> None:
        """Sweep out the slot's blocks in later buckets; it may be added to meanwhile."""
        self._limits[slot] = last_bucket

    def sweep(self, table_slots: int = SLICE_TABLE_SLOTS) -> bool:
        """Go on sweeping; True when nothing is left to do."""
        if self._cycle is None:
            if not self.is_dirty:
                return True
            self._cycle = _Cycle(self._tables, self._dead, self._limits)
            self._dead, self._limits = [], {}
        if self._cycle.step(table_slots):
            for slot in self._cycle.dead:
                heapq.heappush(self._clean, slot)
            self._cycle = None
        return not self.is_dirty
