"""The block table against a plain dictionary of sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from farsight.positions import UNKNOWN
from farsight.table import MIN_CAPACITY, BlockTable
from tests.farsight.table_oracle import (
    BATCHES,
    GROUPS,
    LIMIT,
    SLOT,
    SLOTS,
    Oracle,
    array,
    buckets_of,
    prefix,
    random_keys,
)


class Program(RuleBasedStateMachine):
    """Random changes to a table and to its oracle."""

    def __init__(self) -> None:
        super().__init__()
        self.table = BlockTable()
        self.oracle = Oracle()

    @rule(slot=SLOT, keys=BATCHES, limit=LIMIT)
    def add(self, slot: int, keys: list[int], limit: int) -> None:
        """`add` returns how many keys are new to the endpoint, without those too deep."""
        buckets = buckets_of(keys)
        added = self.oracle.add(slot, keys, buckets.tolist(), limit)
        assert self.table.add(slot, array(keys), buckets, limit) == added

    @rule(slot=SLOT, keys=BATCHES, limit=LIMIT)
    def add_at_unknown_depth(self, slot: int, keys: list[int], limit: int) -> None:
        """Without buckets those count that the table knows from other endpoints."""
        added = self.oracle.add(slot, keys, [UNKNOWN] * len(keys), limit)
        assert self.table.add(slot, array(keys), None, limit) == added

    @rule(slot=SLOT, keys=BATCHES)
    def remove(self, slot: int, keys: list[int]) -> None:
        """`remove` returns how many keys the endpoint held."""
        assert self.table.remove(slot, array(keys)) == self.oracle.drop(slot, keys)

    @rule(slots=st.lists(SLOT, max_size=4), keys=BATCHES)
    def remove_everywhere(self, slots: list[int], keys: list[int]) -> None:
        """`remove_everywhere` is `remove` for each of the endpoints."""
        self.table.remove_everywhere([*slots, 1000], array(keys))
        for slot in slots:
            self.oracle.drop(slot, keys)

    @rule(slot=SLOT)
    def clear(self, slot: int) -> None:
        """`clear` leaves the other endpoints alone."""
        self.table.clear(slot)
        self.oracle.drop(slot, self.oracle.of(slot))

    @rule(doublings=st.integers(0, 2), added_planes=st.integers(0, 1))
    def rebuild(self, doublings: int, added_planes: int) -> None:
        """The table may be adopted in another size; the old arrays are not changed."""
        generation = self.table.generation
        planes = min(self.table.planes + added_planes, 4)
        rebuilt = self.table.rebuilt(MIN_CAPACITY << doublings, planes)
        self.table.check_integrity()
        self.table.adopt(rebuilt)
        assert self.table.generation > generation
        assert (self.table.capacity, self.table.planes) == (MIN_CAPACITY << doublings, planes)

    @rule(keys=BATCHES)
    def match(self, keys: list[int]) -> None:
        """A prefix ends at the first key that the endpoint does not hold."""
        lengths = self.table.prefix_lengths(array(keys), SLOTS)
        for slot in range(SLOTS):
            assert lengths[slot] == prefix(keys, self.oracle.held.get(slot, ()))

    @rule(slots=st.lists(SLOT, max_size=4, unique=True))
    def count(self, slots: list[int]) -> None:
        """`bucket_counts` has a histogram for each slot that is asked for."""
        counts = self.table.bucket_counts([*slots, 1000])
        for row, slot in enumerate(slots):
            found = [self.oracle.buckets[key] for key in self.oracle.of(slot)]
            assert counts[row].tolist() == np.bincount(found, minlength=256).tolist()
        assert not counts[-1].any()

    @invariant()
    def is_sound(self) -> None:
        """No invariant of the table is broken, and it holds what the oracle holds."""
        self.table.check_integrity()
        self.oracle.check(self.table, list(self.oracle.held))
        held_by_any = set().union(*self.oracle.held.values())
        assert self.table.stats.distinct_keys == len(held_by_any)
        assert self.table.empty == (not held_by_any)


TestProgram = Program.TestCase
TestProgram.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_it_grows_and_keeps_everything() -> None:
    """Past the load limit the table doubles, with every endpoint's keys in it."""
    table, keys = BlockTable(), random_keys(20_000)

    for start in range(0, keys.size, 1000):
        table.add(start // 1000 % 3 * 50, keys[start : start + 1000])

    table.check_integrity()
    assert table.stats.distinct_keys == keys.size
    assert sum(table.keys_of(slot).size for slot in (0, 50, 100)) == keys.size
    assert table.stats.table_bytes > BlockTable().stats.table_bytes


def test_it_says_when_a_rebuild_is_due() -> None:
    """Before the table grows by itself it is crowded, and after a rebuild it is not."""
    table, keys = BlockTable(), random_keys(MIN_CAPACITY)
    seen = [table.is_crowded]

    table.add(0, keys[: int(MIN_CAPACITY * 0.65)])
    seen.append(table.is_crowded)
    assert table.capacity == MIN_CAPACITY
    table.adopt(table.rebuilt(2 * MIN_CAPACITY, 1))
    seen.append(table.is_crowded)

    assert seen == [False, True, False]
    assert table.stats.table_bytes == BlockTable.bytes_of(2 * MIN_CAPACITY, 1)


def test_a_rebuild_that_missed_changes_is_refused() -> None:
    """What was rebuilt before a write or another rebuild cannot be adopted."""
    table = BlockTable()
    before_write = table.rebuilt(MIN_CAPACITY, 1)
    table.add(0, random_keys(1))
    with pytest.raises(AssertionError):
        table.adopt(before_write)

    before_rebuild = table.rebuilt(MIN_CAPACITY, 1)
    table.adopt(table.rebuilt(MIN_CAPACITY, 2))
    with pytest.raises(AssertionError):
        table.adopt(before_rebuild)


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


def test_a_clear_among_full_groups_misses_nothing() -> None:
    """Keys that were pushed out of the first group, and around the end, are cleared too."""
    table = BlockTable()
    keys = array(
        [(high << 32) + home for high in range(1, 20) for home in (0, GROUPS - 1, GROUPS - 3)]
    )
    table.add(0, keys)
    table.add(1, keys[::3].copy())

    table.clear(0)

    table.check_integrity()
    assert table.stats.distinct_keys == table.held(1) == 19


def test_an_endpoint_without_a_plane_holds_nothing() -> None:
    """Slots that were never used can be asked, cleared and removed from."""
    table = BlockTable()
    table.add(0, random_keys(3))

    table.clear(500)

    assert table.remove(500, random_keys(3)) == 0
    assert table.keys_of(500).size == table.held(500) == 0
    assert table.prefix_lengths(random_keys(3), 501).tolist() == [3] + [0] * 500


def test_fewer_slots_than_a_plane_can_be_asked() -> None:
    """The answer has as many rows as were asked for."""
    table = BlockTable()
    table.add(5, random_keys(2))

    assert table.prefix_lengths(random_keys(2), 3).tolist() == [0, 0, 0]
    assert table.prefix_lengths(random_keys(0), 6).tolist() == [0] * 6
    assert table.prefix_lengths(random_keys(2), 0).tolist() == []


@pytest.mark.parametrize("hole", [0, 1, 17, 31, 300])
@pytest.mark.parametrize("slot", [3, 100])
def test_a_hole_ends_the_prefix(hole: int, slot: int) -> None:
    """Blocks behind the first missing one do not count, over one plane and over two."""
    table, keys = BlockTable(), random_keys(600)
    table.add(slot - 1, np.delete(keys, hole))
    table.add(slot, keys)

    lengths = table.prefix_lengths(keys, slot + 1)

    assert (lengths[slot - 1], lengths[slot]) == (hole, 600)


def test_received_keys_and_repeated_keys_count_once() -> None:
    """Keys and buckets may lie in read-only memory, and a key may come twice in a batch."""
    table, keys = BlockTable(), random_keys(3)
    received = np.frombuffer(np.repeat(keys, 2).tobytes(), "<u8")
    buckets = np.frombuffer(bytes([7, 4] * 3), np.uint8)

    assert table.add(1, received, buckets) == 3
    assert table.prefix_lengths(received, 2).tolist() == [0, 6]
    assert table.held_rows(received).ravel().tolist() == [2] * 6
    assert table.contents_of(1)[1].tolist() == [4, 4, 4]
    assert table.remove(1, received) == 3
    assert table.add(1, received[:0]) == table.remove(1, received[:0]) == 0
    assert table.empty


@settings(deadline=None)
@given(
    st.lists(st.tuples(SLOT, st.integers(0, 2), st.integers(0, 11)), max_size=120),
    st.none() | st.lists(st.sets(SLOT, max_size=4), max_size=2),
)
def test_a_block_on_any_tier_continues_the_prefix(
    held: list[tuple[int, int, int]], pools: list[set[int]] | None
) -> None:
    """Over one, two and three tables of different planes, a block counts where any has it, and in
    the last of them what a member of a pool has, all members have."""
    keys = random_keys(12)
    tables = [BlockTable(), BlockTable(), BlockTable()]
    for slot, tier, block in held:
        tables[tier].add(slot, keys[block : block + 1])
    masks = None
    if pools is not None:
        masks = np.zeros((len(pools), 3), np.uint64)
        for row, members in enumerate(pools):
            for slot in members:
                masks[row, slot // 64] |= np.uint64(1 << slot % 64)

    for depth in (1, 2, 3):
        found = tables[0].prefix_lengths(keys, SLOTS, tables[1:depth], masks)

        for slot in range(SLOTS):
            mates = set().union(*(pool for pool in pools or () if slot in pool))
            blocks = {b for s, tier, b in held if s == slot and tier < depth}
            blocks |= {b for s, tier, b in held if s in mates and tier == depth - 1}
            assert found[slot] == prefix(range(12), blocks)


def test_pool_members_that_are_not_asked_count_for_those_that_are() -> None:
    """A block on shared storage counts for slot 1 although only slot 100 announced it."""
    table, keys = BlockTable(), random_keys(2)
    table.add(100, keys)
    pools = np.array([[2, 1 << 36]], np.uint64)

    assert table.prefix_lengths(keys, 2, pools=pools).tolist() == [0, 2]
    assert table.held_rows(keys, pools=pools).tolist() == [[2, 1 << 36]] * 2


def test_rows_are_added_up_over_tables() -> None:
    """`held_rows` adds to the rows that it is given, and widens them when it must."""
    device, host, keys = BlockTable(), BlockTable(), random_keys(3)
    device.add(0, keys[:2])
    host.add(65, keys[1:])

    rows = host.held_rows(keys, device.held_rows(keys))

    assert rows.tolist() == [[1, 0], [1, 2], [0, 2]]
    assert device.held_rows(keys, rows) is rows
    assert rows.tolist() == [[1, 0], [1, 2], [0, 2]]


@pytest.mark.parametrize("breakage", ["unreachable", "without endpoints", "miscounted"])
def test_a_broken_table_is_noticed(breakage: str) -> None:
    """`check_integrity` sees a key that cannot be reached, one without endpoints, a miscount."""
    table = BlockTable()
    table.add(0, array([1 << 32, 1 << 33]))
    table.check_integrity()

    if breakage == "unreachable":
        table._entries[:4] = [0, 1 << 32, 1 << 33, 0]
    elif breakage == "without endpoints":
        table._entries[4] = 0
    else:
        table._held[0] = 1

    with pytest.raises(AssertionError):
        table.check_integrity()
