"""An open-addressing table from block key to the set of endpoints that hold the block.

One table holds one tier. A slot is a uint64 key and one uint64 mask per plane of 64 endpoint
slots; linear probing, deletion by shifting back, so there are no tombstones. One task owns a table;
its kernels release the GIL and a batch of 4,096 keys takes well under a millisecond.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farsight import table_kernels as kernels
from farsight.keys import Keys

PLANE_BITS = 64
MAX_LOAD = 0.7
MIN_CAPACITY = 1 << 12


@dataclass(frozen=True, slots=True)
class Stats:
    """Size of a table."""

    distinct_keys: int
    table_bytes: int


class BlockTable:
    """Block key -> endpoint slots, for one tier."""

    def __init__(self, planes: int = 1, capacity: int = MIN_CAPACITY) -> None:
        self._planes = planes
        self._count = 0
        self._allocate(1 << max(capacity - 1, MIN_CAPACITY - 1).bit_length())

    def _allocate(self, capacity: int) -> None:
        self._keys = np.zeros(capacity, np.uint64)
        self._masks = np.zeros((capacity, self._planes), np.uint64)

    @property
    def stats(self) -> Stats:
        """How many keys it holds and how many bytes it takes."""
        return Stats(self._count, self._keys.nbytes + self._masks.nbytes)

    @property
    def empty(self) -> bool:
        """No key is held."""
        return self._count == 0

    def reserve(self, slot: int) -> None:
        """Make room for an endpoint slot; adds planes of 64 when needed."""
        planes = slot // PLANE_BITS + 1
        if planes > self._planes:
            added = np.zeros((self._keys.size, planes - self._planes), np.uint64)
            self._masks = np.concatenate([self._masks, added], axis=1)
            self._planes = planes

    def _grow_for(self, added: int) -> None:
        capacity = self._keys.size
        while self._count + added > capacity * MAX_LOAD:
            capacity *= 2
        if capacity != self._keys.size:
            old_keys, old_masks = self._keys, self._masks
            self._allocate(capacity)
            kernels.rehash(old_keys, old_masks, self._keys, self._masks)

    def add(self, slot: int, keys: Keys) -> int:
        """The endpoint holds the keys now; returns how many it did not hold before."""
        self.reserve(slot)
        self._grow_for(keys.size)
        fresh, added = kernels.add(self._keys, self._masks, keys, *divmod(slot, PLANE_BITS))
        self._count += fresh
        return int(added)

    def remove(self, slot: int, keys: Keys) -> int:
        """The endpoint holds the keys no more; returns how many it did hold."""
        if slot // PLANE_BITS >= self._planes:
            return 0
        gone, removed = kernels.remove(self._keys, self._masks, keys, *divmod(slot, PLANE_BITS))
        self._count -= gone
        return int(removed)

    def clear(self, slot: int) -> None:
        """The endpoint holds nothing: one pass over the table."""
        if slot // PLANE_BITS < self._planes:
            held = self.keys_of(slot)
            self.remove(slot, held)

    def keys_of(self, slot: int) -> Keys:
        """Every key the endpoint holds, in no order."""
        plane, bit = divmod(slot, PLANE_BITS)
        if plane >= self._planes:
            return np.empty(0, np.uint64)
        flag = np.uint64(1) << np.uint64(bit)
        held: Keys = self._keys[(self._masks[:, plane] & flag) != 0]
        return held

    def prefix_lengths(
        self, keys: Keys, slots: int, also: "Sequence[BlockTable]" = ()
    ) -> npt.NDArray[np.uint32]:
        """Blocks that each endpoint slot holds without a hole from the first key on.

        :param slots: endpoint slots 0 to `slots` - 1 are answered.
        :param also: further tiers; a block counts when any table has it.
        :returns: uint32 array of shape (slots,).
        """
        out = np.zeros(slots, np.uint32)
        tables = (self, *(table for table in also if not table.empty))
        if len(tables) == 1:
            kernels.prefix_lengths(self._keys, self._masks, keys, out)
        else:
            kernels.prefix_lengths_of_all(
                tuple(t._keys for t in tables), tuple(t._masks for t in tables), keys, out
            )
        return out

    def check_integrity(self) -> None:
        """Raise AssertionError when an invariant of the table is broken."""
        used = np.flatnonzero(self._keys)
        assert used.size == self._count, f"{used.size} keys, {self._count} counted"
        assert np.unique(self._keys[used]).size == used.size, "a key is there twice"
        assert bool((self._masks[used] != 0).any(axis=1).all()), "a key without endpoints"
        found = kernels.find_all(self._keys, self._keys[used])
        assert bool((found == used).all()), "a key cannot be reached by probing"


def warm() -> None:
    """Compile or load every kernel, for keys of our own and keys in received bytes."""
    for keys in (np.arange(1, 3, dtype=np.uint64), np.frombuffer(b"\1" * 16, np.uint64)):
        table, other, third = BlockTable(), BlockTable(), BlockTable()
        for held in (table, other, third):
            held.add(0, keys)
        for also in ((), (other,), (other, third)):
            table.prefix_lengths(keys, 1, also)
        table.remove(0, keys)
        other._grow_for(other._keys.size)
