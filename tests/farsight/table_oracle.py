"""What a block table has to hold, as a plain dictionary of sets, and keys that make it hard."""

from collections.abc import Iterable, Sequence

import numpy as np
from hypothesis import strategies as st

from farsight.keys import Keys
from farsight.positions import UNKNOWN, Buckets
from farsight.table import MIN_CAPACITY, BlockTable
from farsight.table_kernels import GROUP

SLOTS = 130  # three planes
GROUPS = MIN_CAPACITY // GROUP
# Few groups of slots, so that most keys are pushed out of theirs, and around the end of the table.
KEYS = st.builds(
    lambda home, high: (high << 32) | home,
    st.sampled_from([0, 1, 2, GROUPS - 2, GROUPS - 1]),
    st.integers(1, 40),
)
BATCHES = st.lists(KEYS, max_size=30)
SLOT = st.sampled_from([0, 1, 63, 64, 127, SLOTS - 1])
LIMIT = st.sampled_from([0, 1, 5, UNKNOWN - 1, UNKNOWN])


def array(keys: Sequence[int]) -> Keys:
    """Keys as the table takes them."""
    return np.array(keys, np.uint64)


def random_keys(count: int, seed: int = 0) -> Keys:
    """Distinct keys that look like digests."""
    drawn = np.random.default_rng(seed).integers(1, 2**64 - 1, count, np.uint64)
    assert np.unique(drawn).size == count
    return drawn


def bucket_of(key: int) -> int:
    """A key lies at the same depth wherever it is held; of some keys it is not known."""
    return (0, 1, 3, 6, UNKNOWN)[(key >> 32) % 5]


def buckets_of(keys: Sequence[int]) -> Buckets:
    """Buckets as the table takes them."""
    return np.array([bucket_of(key) for key in keys], np.uint8)


def prefix(keys: Sequence[int], held: Iterable[int]) -> int:
    """Keys before the first one that is not held."""
    known = set(held)
    return next((i for i, key in enumerate(keys) if key not in known), len(keys))


class Oracle:
    """Keys of each slot, and the bucket of each key that is held."""

    def __init__(self) -> None:
        self.held: dict[int, set[int]] = {}
        self.buckets: dict[int, int] = {}

    def of(self, slot: int) -> set[int]:
        """Keys of a slot."""
        return self.held.setdefault(slot, set())

    def add(self, slot: int, keys: Sequence[int], buckets: Sequence[int], limit: int) -> int:
        """As `BlockTable.add`."""
        before = len(self.of(slot))
        for key, given in zip(keys, buckets, strict=True):
            bucket = min(given, self.buckets.get(key, UNKNOWN))
            if bucket <= limit:
                self.buckets[key] = bucket
                self.of(slot).add(key)
        return len(self.of(slot)) - before

    def drop(self, slot: int, keys: Iterable[int]) -> int:
        """As `BlockTable.remove`."""
        gone = self.of(slot) & set(keys)
        self.held[slot] -= gone
        held_by_any = set().union(*self.held.values())
        self.buckets = {key: b for key, b in self.buckets.items() if key in held_by_any}
        return len(gone)

    def check(self, table: BlockTable, slots: Iterable[int]) -> None:
        """The table says the same of these slots."""
        for slot in slots:
            keys, buckets = table.contents_of(slot)
            found = dict(zip(keys.tolist(), buckets.tolist(), strict=True))
            assert found == {key: self.buckets[key] for key in self.of(slot)}
            assert table.held(slot) == keys.size == len(found)
