"""The block table against a plain dictionary of sets."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from farsight.keys import Keys
from farsight.table import MIN_CAPACITY, BlockTable

SLOTS = 130  # three planes
# Few low-bit patterns, so that probe runs are long and wrap around the end of the table.
KEYS = st.builds(
    lambda home, high: (high << 32) | home,
    st.sampled_from([0, 1, 2, MIN_CAPACITY - 2, MIN_CAPACITY - 1]),
    st.integers(1, 40),
)
BATCHES = st.lists(KEYS, max_size=30)
SLOT = st.sampled_from([0, 1, 63, 64, 127, SLOTS - 1])


def array(keys: Sequence[int]) -> Keys:
    """Keys as the table takes them."""
    return np.array(keys, np.uint64)


def random_keys(count: int, seed: int = 0) -> Keys:
    """Distinct keys that look like digests."""
    drawn = np.random.default_rng(seed).integers(1, 2**64 - 1, count, np.uint64)
    assert np.unique(drawn).size == count
    return drawn


class Program(RuleBasedStateMachine):
    """Random changes to a table and to its oracle."""

    def __init__(self) -> None:
        super().__init__()
        self.table = BlockTable()
        self.oracle: dict[int, set[int]] = {}

    def holders(self, key: int) -> set[int]:
        """Slots that hold a key."""
        return {slot for slot, held in self.oracle.items() if key in held}

    @rule(slot=SLOT, keys=BATCHES)
    def add(self, slot: int, keys: list[int]) -> None:
        """`add` returns how many keys are new to the endpoint."""
        held = self.oracle.setdefault(slot, set())
        assert self.table.add(slot, array(keys)) == len(set(keys) - held)
        held.update(keys)

    @rule(slot=SLOT, keys=BATCHES)
    def remove(self, slot: int, keys: list[int]) -> None:
        """`remove` returns how many keys the endpoint held."""
        held = self.oracle.setdefault(slot, set())
        assert self.table.remove(slot, array(keys)) == len(set(keys) & held)
        held.difference_update(keys)

    @rule(slot=SLOT)
    def clear(self, slot: int) -> None:
        """`clear` leaves the other endpoints alone."""
        self.table.clear(slot)
        self.oracle.pop(slot, None)

    @rule(keys=BATCHES)
    def match(self, keys: list[int]) -> None:
        """A prefix ends at the first key that the endpoint does not hold."""
        lengths = self.table.prefix_lengths(array(keys), SLOTS)
        for slot in range(SLOTS):
            assert lengths[slot] == prefix(keys, self.oracle.get(slot, set()))

    @invariant()
    def is_sound(self) -> None:
        """No invariant of the table is broken, and it holds what the oracle holds."""
        self.table.check_integrity()
        for slot, held in self.oracle.items():
            assert set(self.table.keys_of(slot).tolist()) == held
        assert self.table.stats.distinct_keys == len(set().union(*self.oracle.values()))


def prefix(keys: Sequence[int], held: set[int]) -> int:
    """Keys before the first one that is not held."""
    return next((i for i, key in enumerate(keys) if key not in held), len(keys))


TestProgram = Program.TestCase
TestProgram.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def test_it_grows_and_keeps_everything() -> None:
    """Past the load limit the table doubles, with every endpoint's keys in it."""
    table, keys = BlockTable(), random_keys(20_000)

    for start in range(0, keys.size, 1000):
        table.add(start // 1000 % 3 * 50, keys[start : start + 1000])

    table.check_integrity()
    assert table.stats.distinct_keys == keys.size
    assert sum(table.keys_of(slot).size for slot in (0, 50, 100)) == keys.size
    assert table.stats.table_bytes > BlockTable().stats.table_bytes


def test_it_is_empty_again() -> None:
    """What every endpoint dropped leaves no key behind."""
    table, keys = BlockTable(), random_keys(5000)
    table.add(0, keys)
    table.add(70, keys)

    table.clear(0)
    assert table.stats.distinct_keys == keys.size
    table.remove(70, np.flip(keys).copy())

    assert table.empty
    table.check_integrity()


def test_an_endpoint_without_a_plane_holds_nothing() -> None:
    """Slots that were never used can be asked, cleared and removed from."""
    table = BlockTable()
    table.add(0, random_keys(3))

    table.clear(500)

    assert table.remove(500, random_keys(3)) == 0
    assert table.keys_of(500).size == 0
    assert table.prefix_lengths(random_keys(3), 501).tolist() == [3] + [0] * 500


def test_fewer_slots_than_a_plane_can_be_asked() -> None:
    """The answer has as many rows as were asked for."""
    table = BlockTable()
    table.add(5, random_keys(2))

    assert table.prefix_lengths(random_keys(2), 3).tolist() == [0, 0, 0]
    assert table.prefix_lengths(random_keys(0), 6).tolist() == [0] * 6


@pytest.mark.parametrize("hole", [0, 1, 17, 31])
def test_a_hole_ends_the_prefix(hole: int) -> None:
    """Blocks behind the first missing one do not count."""
    table, keys = BlockTable(), random_keys(32)
    table.add(3, np.delete(keys, hole))
    table.add(100, keys)

    lengths = table.prefix_lengths(keys, 101)

    assert (lengths[3], lengths[100]) == (hole, 32)


@given(st.lists(st.tuples(SLOT, st.integers(0, 2), st.integers(0, 11)), max_size=120))
def test_a_block_on_any_tier_continues_the_prefix(held: list[tuple[int, int, int]]) -> None:
    """Over one, two and three tables of different planes, a block counts where any has it."""
    keys = random_keys(12)
    tables = [BlockTable(), BlockTable(), BlockTable()]
    for slot, tier, block in held:
        tables[tier].add(slot, keys[block : block + 1])

    for depth in (1, 2, 3):
        lengths = tables[0].prefix_lengths(keys, SLOTS, tables[1:depth])

        for slot in range(SLOTS):
            blocks = {block for s, tier, block in held if s == slot and tier < depth}
            assert lengths[slot] == prefix(range(12), blocks)


def test_a_broken_table_is_noticed() -> None:
    """`check_integrity` sees a key that lost its endpoints and one that cannot be reached."""
    table, keys = BlockTable(), array([1, 1 + (1 << 32)])
    table.add(0, keys)
    table._keys[1] = 0

    with pytest.raises(AssertionError):
        table.check_integrity()
