"""What an index does beside its messages: grow, sweep, clear, merge, and stay within its memory.

Without an event loop (the simulator) it is done at once, when it is needed. `IndexUpkeep` does it
in threads and slices; deltas wait meanwhile where they must.
"""

import asyncio
import contextlib
from typing import TYPE_CHECKING

from farsight.index import budget
from farsight.index.budget import TRIMMED_LOAD
from farsight.index.loading import Loader
from farsight.index.parts import SLICE_KEYS, Clear, IndexParts, Need
from farsight.index.pools import StoragePool
from farsight.index.tables import STORAGE
from farsight.index.trimming import Trimmer
from farsight.memory import empty_pages
from farsight.table import MAX_LOAD, BlockTable
from farsight.table_sweep import Sweep

if TYPE_CHECKING:
    from farsight.index.state import KvIndex

# Slices swept before everything else gets its turn.
_SWEEP_SLICES = 64
_INTERVAL_S = 0.5


class Upkeep:
    """Does what waits in `Work`, and what slots, pools and limits ask for."""

    def __init__(self, parts: IndexParts) -> None:
        self._parts = parts
        self._trimmer = Trimmer(parts)

    async def make_room(self) -> None:
        """Grow or trim the tables that somebody waits for."""
        rooms = self._parts.work.rooms
        while rooms:
            await self._make_room(*rooms.popitem())

    async def merge(self) -> None:
        """Bring the blocks of ended lives under one slot of their pool each."""
        for pool in self._parts.pools.all:
            while pool.legacies and pool in self._parts.pools.all:
                await self._merge(pool, pool.legacies[0])

    async def tend(self, loader: Loader) -> None:
        """Do some of everything; what is left calls for another turn."""
        work, slots = self._parts.work, self._parts.slots
        while work.clears:
            await self._clear(work.clears.pop())
        for table in self._parts.tables.all:
            if table.is_crowded and table not in work.rooms:
                work.need_room(table, Need(0, 0, None))
        await self.make_room()
        await self.merge()
        for _ in range(_SWEEP_SLICES):
            if not slots.is_dirty:
                break
            await self._parts.turn()
            slots.sweep()
        self.lift()
        for source in list(self._parts.sources):
            if source.is_based and source.has_next:
                await loader.catch_up(source)
        if slots.is_dirty:
            work.called.set()

    def lift(self) -> None:
        """Lift the limits of endpoints where there is room."""
        self._trimmer.lift()

    async def _make_room(self, table: BlockTable, need: Need) -> None:
        limits = self._parts.budget
        shape = budget.shape_for(table, need.slot, need.added)
        if not limits.affords(shape):
            shape = limits.nearest(table, shape)
            await self._trimmer.trim(table, int(shape.capacity * TRIMMED_LOAD))
            if need.source and need.added > shape.capacity * (MAX_LOAD - TRIMMED_LOAD):
                self._trimmer.restrict(need.source, -1)  # never room for what it wants at once
        if shape != (table.capacity, table.planes):
            pace = self._parts.pace
            async with self._parts.gate.closed():
                # Before it closed, others may have written; who lacks room asks again.
                if not budget.can_become(table, shape):
                    return
                retired = table.adopt(await pace.run(table.rebuilt, *shape))
            await pace.run(empty_pages, retired)

    async def _merge(self, pool: StoragePool, legacy: int) -> None:
        parts = self._parts
        if pool.inherited is None:
            pool.inherited = parts.slots.take()
        for table in parts.tables.of_tier(STORAGE):
            # Its keys are in the table already, but the table cannot know that they are.
            if not budget.has_room(table, pool.inherited, SLICE_KEYS):
                await self._make_room(table, Need(pool.inherited, SLICE_KEYS, None))
            async with parts.gate.closed():
                keys, buckets = await parts.pace.run(table.contents_of, legacy)
                for start in range(0, keys.size, SLICE_KEYS):
                    if legacy not in pool.legacies or pool not in parts.pools.all:
                        return  # the last member is gone, and the slots with it
                    some = slice(start, start + SLICE_KEYS)
                    table.add(pool.inherited, keys[some], buckets[some], pool.limit)
                    if not parts.pace.is_inline:
                        await asyncio.sleep(0)
        if legacy in pool.legacies and pool in parts.pools.all:
            pool.legacies.remove(legacy)
            parts.slots.release(legacy)
            parts.pools.touch()

    async def _clear(self, clear: Clear) -> None:
        source, slot = clear.source, clear.slot
        for table in self._parts.tables.of_tier(clear.tier):
            while table.held(slot):
                sweep, is_done = Sweep(table, (slot,), {}), False
                while not is_done:
                    await self._parts.turn()
                    if not source.is_clearing or source.slot != slot:
                        return  # a snapshot or another life has overtaken it
                    is_done = sweep.step()
        if source in self._parts.sources and source.slot == slot:
            source.is_clearing = False
            self._parts.note(source)


class IndexUpkeep:
    """Looks after an index in the background of an event loop."""

    def __init__(self, index: "KvIndex") -> None:
        self._index = index

    async def run(self) -> None:
        """Do what the index needs, soon after it needs it; never returns."""
        parts = self._index.parts
        called = parts.work.called
        parts.pace.is_inline = False
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_INTERVAL_S):
                        await called.wait()
                called.clear()
                await self._index.tend()
        finally:
            parts.pace.is_inline = True
