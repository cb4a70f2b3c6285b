"""An open-addressing table from block key to the set of endpoints that hold the block.

One table holds one tier of one KV group. A key has one uint64 mask per plane of 64 endpoint slots
and a bucket, which says how deep in its prompt the block lies. Deletion moves entries back, so
there are no tombstones. One task owns a table; its kernels release the GIL and a batch of 4,096
keys takes well under a millisecond. `rebuilt` and the reads may run in a thread while nobody
writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from farsight import group_rules, lanes, table_rows
from farsight import table_kernels as kernels
from farsight.group_rules import Rows
from farsight.kernel_cache import drop_stale
from farsight.keys import Keys
from farsight.positions import UNKNOWN, Buckets

# Before any kernel is called: what is stored is loaded then.
drop_stale(
    (Path(str(module.__file__)) for module in (lanes, kernels, table_rows, group_rules)),
    Path(kernels.add.stats.cache_path),
)

PLANE_BITS = 64
CROWDED_LOAD = 0.6
MAX_LOAD = 0.7
MIN_CAPACITY = 1 << 12
_CACHE_LINE_WORDS = 8
_ROWS_AT_ONCE = 512  # blocks matched between two looks whether any endpoint goes on
_NO_BUCKETS = np.empty(0, np.uint8)

Words = npt.NDArray[np.uint64]
Pools = npt.NDArray[np.uint64]
"""uint64[pools, planes]: the members of each pool of shared storage."""


@dataclass(frozen=True, slots=True)
class Stats:
    """Size of a table."""

    distinct_keys: int
    table_bytes: int


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A table's contents in arrays of another shape, for `BlockTable.adopt`."""

    planes: int
    entries: Words
    buckets: Buckets
    distinct_keys: int
    generation: int
    """Of the table that it was made from."""


class BlockTable:
    """Block key -> endpoint slots, for one tier of one KV group."""

    def __init__(self, planes: int = 1, capacity: int = MIN_CAPACITY) -> None:
        capacity = _round_up(capacity)
        self._count = 0
        self._generation = 0
        self._held = np.zeros(0, np.int64)
        self._take(planes, _zeros(capacity, planes), np.empty(capacity, np.uint8))

    def _take(self, planes: int, entries: Words, buckets: Buckets) -> None:
        self._planes = planes
        self._entries = entries
        self._buckets = buckets
        self._room = int(buckets.size * MAX_LOAD)
        added = planes * PLANE_BITS - self._held.size
        self._held = np.concatenate([self._held, np.zeros(added, np.int64)])

    @staticmethod
    def bytes_of(capacity: int, planes: int) -> int:
        """Memory that a table of that shape takes."""
        return _round_up(capacity) * (8 + 8 * planes + 1) + 8 * PLANE_BITS * planes

    @property
    def stats(self) -> Stats:
        """How many keys it holds and how many bytes it takes."""
        return Stats(self._count, self.bytes_of(self.capacity, self._planes))

    @property
    def empty(self) -> bool:
        """No key is held."""
        return self._count == 0

    @property
    def capacity(self) -> int:
        """Keys for which there are slots."""
        return self._buckets.size

    @property
    def planes(self) -> int:
        """Planes of 64 endpoint slots."""
        return self._planes

    @property
    def generation(self) -> int:
        """Changes whenever the arrays are replaced."""
        return self._generation

    @property
    def is_crowded(self) -> bool:
        """A rebuild for more keys is due; the table grows by itself, at once, a little later."""
        return self._count > self.capacity * CROWDED_LOAD

    def held(self, slot: int) -> int:
        """How many keys the endpoint holds."""
        return int(self._held[slot]) if slot < self._held.size else 0

    def reserve(self, slot: int) -> None:
        """Make room for an endpoint slot; adds planes of 64, at once, when needed."""
        planes = slot // PLANE_BITS + 1
        if planes > self._planes:
            self.adopt(self.rebuilt(self.capacity, planes))

    def _grow_for(self, added: int) -> None:
        capacity = self.capacity
        while self._count + added > capacity * MAX_LOAD:
            capacity *= 2
        self.adopt(self.rebuilt(capacity, self._planes))

    def rebuilt(self, capacity: int, planes: int) -> Rebuilt:
        """The same contents in new arrays; reads only, for `adopt` if nobody writes meanwhile.

        :param capacity: slots, rounded up to a power of two; the keys must stay under `MAX_LOAD`.
        :param planes: at least those of now.
        """
        capacity = _round_up(capacity)
        assert planes >= self._planes, f"{planes} planes, {self._planes} are in use"
        assert self._count <= capacity * MAX_LOAD, f"no room for {self._count} keys"
        entries, buckets = _zeros(capacity, planes), np.empty(capacity, np.uint8)
        kernels.rehash(self._entries, self._buckets, self._planes, entries, buckets, planes)
        return Rebuilt(planes, entries, buckets, self._count, self._generation)

    def adopt(self, rebuilt: Rebuilt) -> list[Words | Buckets]:
        """Go on with rebuilt arrays; nothing was written since they were made.

        :returns: the arrays of before. To give large ones back to the system takes milliseconds:
            `farsight.memory` does it in a thread.
        """
        assert rebuilt.generation == self._generation, "made from arrays that are gone"
        assert rebuilt.distinct_keys == self._count, "written to meanwhile"
        retired: list[Words | Buckets] = [self._entries, self._buckets]
        self._take(rebuilt.planes, rebuilt.entries, rebuilt.buckets)
        self._generation += 1
        return retired

    def add(
        self, slot: int, keys: Keys, buckets: Buckets | None = None, limit: int = UNKNOWN
    ) -> int:
        """The endpoint holds the keys now; returns how many it did not hold before.

        :param buckets: of the keys (`farsight.positions`); None: they are not known. A bucket that
            the table knows already counts where it is less.
        :param limit: keys in later buckets are refused.
        """
        if slot >= self._held.size:
            self.reserve(slot)
        if self._count + keys.size > self._room:
            self._grow_for(keys.size)
        given = _NO_BUCKETS if buckets is None else buckets
        assert buckets is None or given.size == keys.size, "a bucket for each key"
        fresh: int
        added: int
        fresh, added = kernels.add(
            self._entries,
            self._buckets,
            self._held,
            _own(keys),
            given if given.flags.writeable else given.copy(),
            self._planes,
            slot,
            limit,
        )
        self._count += fresh
        return added

    def remove(self, slot: int, keys: Keys) -> int:
        """The endpoint holds the keys no more; returns how many it did hold."""
        if slot >= self._held.size:
            return 0
        gone: int
        removed: int
        gone, removed = kernels.remove(
            self._entries, self._buckets, self._held, _own(keys), self._planes, slot
        )
        self._count -= gone
        return removed

    def remove_everywhere(self, slots: Sequence[int], keys: Keys) -> None:
        """None of the endpoints holds the keys any more."""
        members = self._mask_of(slots)
        self._count -= kernels.remove_everywhere(
            self._entries, self._buckets, self._held, _own(keys), self._planes, members
        )

    def _mask_of(self, slots: Sequence[int]) -> Words:
        mask = np.zeros(self._planes, np.uint64)
        for slot in slots:
            if slot < self._held.size:
                mask[slot // PLANE_BITS] |= np.uint64(1 << slot % PLANE_BITS)
        return mask

    def clear(self, slot: int) -> None:
        """The endpoint holds nothing: one pass over the table."""
        if self.held(slot):
            self._count -= kernels.clear(
                self._entries, self._buckets, self._held, self._planes, slot
            )

    def group_with_room(self) -> int:
        """A group of slots where a sweep may begin: nothing was pushed out of it or over it."""
        return int(kernels.group_with_room(self._entries, self._planes, 0))

    def sweep_down(self, doomed: Words, group: int, groups: int) -> None:
        """Take bits out of some groups of slots, downwards from `group`, around the end.

        :param doomed: uint64[256, planes], what an entry in each bucket loses.
        """
        self._count -= kernels.sweep(
            self._entries, self._buckets, self._held, self._planes, doomed, group, groups
        )

    def keys_of(self, slot: int) -> Keys:
        """Every key the endpoint holds, in no order."""
        return self.contents_of(slot)[0]

    def contents_of(self, slot: int) -> tuple[Keys, Buckets]:
        """Every key the endpoint holds, in no order, and their buckets."""
        held = self.held(slot)
        keys, buckets = np.empty(held, np.uint64), np.empty(held, np.uint8)
        if held:
            kernels.contents(self._entries, self._buckets, self._planes, slot, keys, buckets)
        return keys, buckets

    def bucket_counts(self, slots: Sequence[int]) -> npt.NDArray[np.int64]:
        """Keys of each endpoint slot in each bucket: int64 array of shape (len(slots), 256)."""
        counts = np.zeros((len(slots), UNKNOWN + 1), np.int64)
        rows_of = np.full(self._held.size, -1, np.int64)
        for row, slot in enumerate(slots):
            if slot < rows_of.size:
                rows_of[slot] = row
        kernels.bucket_counts(self._entries, self._buckets, self._planes, rows_of, counts)
        return counts

    def prefix_lengths(
        self,
        keys: Keys,
        slots: int,
        also: "Sequence[BlockTable]" = (),
        pools: Pools | None = None,
    ) -> npt.NDArray[np.uint32]:
        """Blocks that each endpoint slot holds without a hole from the first key on.

        :param slots: endpoint slots 0 to `slots` - 1 are answered.
        :param also: further tiers; a block counts when any table has it.
        :param pools: in the last of the tables, what one member of a pool holds, all of them hold.
        :returns: uint32 array of shape (slots,).
        """
        out = np.zeros(slots, np.uint32)
        keys = _own(keys)
        if self._planes == 1 and not also and pools is None and 0 < slots <= PLANE_BITS:
            kernels.prefix_lengths(self._entries, keys, out)
            return out
        planes = -(-slots // PLANE_BITS)
        alive = np.full(planes, ~np.uint64(0))
        if slots % PLANE_BITS:
            alive[-1] >>= np.uint64(PLANE_BITS - slots % PLANE_BITS)
        tables = (self, *also)
        for first in range(0, keys.size, _ROWS_AT_ONCE):
            some = keys[first : first + _ROWS_AT_ONCE]
            rows = np.zeros((some.size, planes), np.uint64)
            for table in tables:
                table._or_into(rows, some, pools if table is tables[-1] else None)
            if not table_rows.end_prefixes(rows, first, alive, out):
                return out
        # A block that nobody holds, behind the last, ends what is left.
        table_rows.end_prefixes(np.zeros((1, planes), np.uint64), keys.size, alive, out)
        return out

    def held_rows(self, keys: Keys, rows: Rows | None = None, pools: Pools | None = None) -> Rows:
        """Which endpoints hold each key, added to `rows`, which are changed unless too narrow.

        :param pools: what one member of a pool holds, all of them hold.
        :returns: rows, of at least as many planes as the table.
        """
        assert rows is None or len(rows) == keys.size, "a row for each key"
        planes = max(self._planes, 0 if pools is None else pools.shape[1])
        if rows is None:
            rows = np.zeros((keys.size, planes), np.uint64)
        elif rows.shape[1] < planes:
            rows = np.pad(rows, ((0, 0), (0, planes - rows.shape[1])))
        self._or_into(rows, _own(keys), pools)
        return rows

    def _or_into(self, rows: Rows, keys: Keys, pools: Pools | None) -> None:
        if self.empty:
            return
        starts = self._starts(keys)
        if pools is None:
            table_rows.gather(self._entries, self._planes, starts, rows)
        else:
            table_rows.gather_pooled(self._entries, self._planes, starts, pools, rows)

    def _starts(self, keys: Keys) -> npt.NDArray[np.int64]:
        """Where in the entries each key's mask begins."""
        starts = np.empty(keys.size, np.int64)
        kernels.find_rows(self._entries, self._planes, keys, starts)
        return starts

    def check_integrity(self) -> None:
        """Raise AssertionError when an invariant of the table is broken."""
        groups = self._entries.reshape(-1, kernels.GROUP * (1 + self._planes))
        keys = groups[:, : kernels.GROUP].ravel()
        masks = groups[:, kernels.GROUP :].reshape(-1, self._planes)
        used = np.flatnonzero(keys)
        assert used.size == self._count, f"{used.size} keys, {self._count} counted"
        assert np.unique(keys[used]).size == used.size, "a key is there twice"
        assert bool((masks[used] != 0).any(axis=1).all()), "a key without endpoints"
        assert not masks[keys == 0].any(), "an empty slot with endpoints"
        rows = used // kernels.GROUP * groups.shape[1] + kernels.GROUP
        rows += used % kernels.GROUP * self._planes
        assert bool((self._starts(keys[used]) == rows).all()), "a key cannot be reached by probing"
        bits = np.unpackbits(masks[used].view(np.uint8), axis=1, bitorder="little")
        counts = bits.sum(axis=0, dtype=np.int64)
        assert bool((counts == self._held).all()), "keys of an endpoint are miscounted"


def _round_up(capacity: int) -> int:
    return 1 << (max(capacity, MIN_CAPACITY) - 1).bit_length()


def _zeros(capacity: int, planes: int) -> Words:
    """Empty groups, the first of which begins a cache line."""
    words = capacity * (1 + planes)
    raw = np.zeros(words + _CACHE_LINE_WORDS, np.uint64)
    first = -(raw.ctypes.data // raw.itemsize) % _CACHE_LINE_WORDS
    return raw[first : first + words]


def _own(keys: Keys) -> Keys:
    """Keys in writable memory: Numba takes longer over a read-only array than a copy takes."""
    return keys if keys.flags.writeable else keys.copy()


def warm() -> None:
    """Compile or load every kernel that works on tables and their rows."""
    table, lower = BlockTable(), BlockTable()
    keys, buckets = np.arange(1, 3, dtype=np.uint64), np.zeros(2, np.uint8)
    for held in (table, lower):
        held.add(0, keys, buckets)
    pools = np.ones((1, 1), np.uint64)
    table.prefix_lengths(keys, 1)
    table.prefix_lengths(keys, 1, (lower,), pools)
    table.contents_of(0)
    table.bucket_counts((0,))
    table.remove(0, keys[:1])
    table.remove_everywhere((0,), keys)
    lower.reserve(PLANE_BITS)
    lower.sweep_down(np.zeros((UNKNOWN + 1, 2), np.uint64), lower.group_with_room(), 1)
    lower.clear(0)
    group_rules.warm()
