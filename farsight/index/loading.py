"""Snapshots go into the tables in slices, beside what is known, and replace it when they are in."""

import asyncio
from collections.abc import Sequence

from farsight.index import wire
from farsight.index.lives import Lives
from farsight.index.parts import SLICE_KEYS, IndexParts
from farsight.index.source import Load, Source
from farsight.index.writing import Writer
from farsight.keys import Keys
from farsight.pb.events_pb2 import KvSnapshot
from farsight.positions import Buckets
from farsight.table import BlockTable


class Loader:
    """Loads snapshots, one at a time for each endpoint."""

    def __init__(self, parts: IndexParts, lives: Lives, writer: Writer) -> None:
        self._parts = parts
        self._lives = lives
        self._writer = writer

    async def replace(self, snapshot: KvSnapshot) -> bool:
        """Load a snapshot, then what was held back; True when no delta is missing.

        :raises InvalidField: the snapshot is malformed.
        """
        is_small = snapshot.block_count <= SLICE_KEYS
        parse = wire.parts_of
        keys = parse(snapshot) if is_small else await self._parts.pace.run(parse, snapshot)
        source = self._lives.at(snapshot.endpoint_id, snapshot.epoch)
        if source is None:
            return False
        source.announce(self._parts.clock(), snapshot.seq)
        self._parts.note(source)
        if source.loads:
            return False
        if source.accepts(snapshot.seq) and not await self._load(source, snapshot.seq, keys):
            return False
        return await self.catch_up(source)

    async def _load(self, source: Source, seq: int, parts: Sequence[wire.Part]) -> bool:
        """False when the endpoint's life ended, or the snapshot became void, meanwhile."""
        is_own = not source.is_based and not self._parts.tables.held(source.slot)
        load = Load(source.slot if is_own else self._parts.slots.take(), is_own)
        source.loads.append(load)
        is_in_force = False
        try:
            if not await self._fill(source, load, parts):
                return False
            if source.accepts(seq):
                source.rebase(seq)
                is_in_force = True
                if not is_own:
                    self._lives.move(source, load.slot)
                source.progress(self._parts.clock())
                self._parts.note(source)
            return True  # or the deltas were faster
        finally:
            if load in source.loads:
                source.loads.remove(load)
            if not is_in_force and not is_own:
                self._parts.slots.release(load.slot)

    async def _fill(self, source: Source, load: Load, parts: Sequence[wire.Part]) -> bool:
        for tier, group, keys, buckets in parts:
            table = self._parts.tables.need(tier, group)
            if table is None:
                continue
            start = 0
            while start < keys.size:
                # A small table takes small slices, so that it can be trimmed to have room for one.
                end = start + min(SLICE_KEYS, table.capacity // 16)
                if not await self._store(
                    source, load, table, keys[start:end], _cut(buckets, start, end)
                ):
                    return False
                start = end
                await asyncio.sleep(0)
        return load in source.loads

    async def _store(
        self, source: Source, load: Load, table: BlockTable, keys: Keys, buckets: Buckets | None
    ) -> bool:
        while load in source.loads:
            is_open = not self._parts.gate.is_closed
            if is_open and self._writer.can_store(source, load.slot, table, keys.size):
                self._writer.store(source, load.slot, table, keys, buckets)
                return True
            await self._parts.pace.retry()
        return False

    async def catch_up(self, source: Source) -> bool:
        """Apply what was held back and is next now; True when nothing is missing."""
        epoch = source.epoch
        while source.epoch == epoch and source in self._parts.sources:
            if not self._writer.drain(source, SLICE_KEYS):
                return not source.needs_snapshot(self._parts.clock())
            await asyncio.sleep(0)
        return False


def _cut(buckets: Buckets | None, start: int, end: int) -> Buckets | None:
    return None if buckets is None else buckets[start:end]
