"""Blocks go when the memory budget asks for it, and come back when there is room for a while."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np

from farsight.index import budget
from farsight.index.parts import IndexParts
from farsight.index.pools import StoragePool
from farsight.index.source import NO_LIMIT, Source
from farsight.table import BlockTable

# There must be room for so long before endpoints are asked for all of their blocks again.
LIFT_AFTER_S = 10.0
Owner: TypeAlias = Source | StoragePool


class Trimmer:
    """Sets the endpoints' limits; what lies beyond them is swept out."""

    def __init__(self, parts: IndexParts) -> None:
        self._parts = parts
        self._roomy_since_s: float | None = None

    async def trim(self, table: BlockTable, keep_keys: int) -> None:
        """Bring a table down to so many keys: fairly by endpoint, leaf first."""
        await self._sweep()
        while (count := table.stats.distinct_keys) > keep_keys:
            owners = [owner for owner in self._owners() if owner.own_slots]
            counts = await self._count(owners)
            blocks = int(counts.sum())
            # Endpoints share keys, so keys go more slowly than blocks: some rounds may be needed.
            keep = min(blocks * keep_keys // count, blocks - 1)
            if keep < 0:
                break
            for owner, last in zip(owners, budget.limits(counts, keep).tolist(), strict=True):
                if last < owner.limit:
                    self.restrict(owner, last)
            await self._sweep()

    def restrict(self, owner: Owner, last_bucket: int) -> None:
        """The owner keeps no later bucket from now on; what it has is swept soon."""
        owner.limit = last_bucket
        if isinstance(owner, StoragePool):
            slots = owner.own_slots if owner in self._parts.pools.all else []
        else:
            slots = owner.own_slots if owner in self._parts.sources else []
            self._parts.note(owner)
        for slot in slots:
            self._parts.slots.limit(slot, last_bucket)

    def lift(self) -> None:
        """Ask limited endpoints for all of their blocks, when there has been room for a while.

        What a pool has lost does not come back; it inherits everything again.
        """
        limited = [s for s in self._parts.sources if s.limit < NO_LIMIT]
        pools = [pool for pool in self._parts.pools.all if pool.limit < NO_LIMIT]
        if not (limited or pools) or self._parts.slots.is_dirty:
            self._roomy_since_s = None
            return
        missing = sorted((self._missing(source), source.endpoint_id) for source in limited)
        spare = self._parts.budget.spare_keys
        now_s = self._parts.clock()
        if spare < (missing[0][0] if missing else 1):
            self._roomy_since_s = None
        elif self._roomy_since_s is None:
            self._roomy_since_s = now_s
        elif now_s - self._roomy_since_s >= LIFT_AFTER_S:
            self._roomy_since_s = None
            for pool in pools:
                pool.limit = NO_LIMIT
            for blocks, endpoint_id in missing:
                spare -= blocks
                if spare >= 0:
                    self._free(self._parts.sources.named(endpoint_id))

    def _free(self, source: Source) -> None:
        source.limit = NO_LIMIT
        source.lose_base()
        self._parts.note(source)
        self._parts.wants_snapshot(source.endpoint_id)

    def _missing(self, source: Source) -> int:
        """Blocks that the limit keeps out, as far as the sidecar tells; else as many as are in."""
        held = self._parts.tables.held(source.slot)
        return max(source.mirror_blocks - held if source.mirror_blocks else held, 1)

    def _owners(self) -> Iterator[Owner]:
        yield from self._parts.sources
        yield from self._parts.pools.all

    async def _count(self, owners: Sequence[Owner]) -> budget.Blocks:
        """Blocks by bucket of each owner, in all of its slots."""
        slots = [owner.own_slots for owner in owners]
        flat = [slot for some in slots for slot in some]
        async with self._parts.gate.closed():
            counts = await self._parts.pace.run(self._parts.tables.bucket_counts, flat)
        if not owners:
            return counts
        starts = np.cumsum([0, *(len(some) for some in slots[:-1])])
        summed: budget.Blocks = np.add.reduceat(counts, starts, axis=0)
        return summed

    async def _sweep(self) -> None:
        """Take out everything that counts for nothing any more."""
        while self._parts.slots.is_dirty:
            await self._parts.turn()
            self._parts.slots.sweep()
