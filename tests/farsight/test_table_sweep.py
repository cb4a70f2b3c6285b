"""Sweeps of the block table, between writes of the endpoints that live on."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from farsight.positions import UNKNOWN
from farsight.table import MIN_CAPACITY, BlockTable
from farsight.table_sweep import Sweep
from tests.farsight.table_oracle import BATCHES, SLOT, Oracle, array, buckets_of, random_keys

LAST_BUCKETS = st.sampled_from([0, 1, 3, 6])


class Program(RuleBasedStateMachine):
    """Endpoints write while others are swept out.

    While a sweep runs it is open what the dead and the limited slots hold, within bounds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.table = BlockTable()
        self.oracle = Oracle()
        self.sweep: Sweep | None = None
        self.dead: set[int] = set()
        self.limits: dict[int, int] = {}
        self.kept: dict[int, set[int]] = {}
        """What a limited slot has for certain."""

    @rule(slot=SLOT, keys=BATCHES)
    def add(self, slot: int, keys: list[int]) -> None:
        """Nothing is added for a dead slot, nor too deep for a limited one."""
        if slot in self.dead:
            return
        buckets, limit = buckets_of(keys), self.limits.get(slot, UNKNOWN)
        added = self.oracle.add(slot, keys, buckets.tolist(), limit)
        found = self.table.add(slot, array(keys), buckets, limit)
        if slot in self.limits:
            taken = zip(keys, buckets.tolist(), strict=True)
            self.kept[slot] |= {key for key, bucket in taken if bucket <= limit}
        else:
            assert found == added

    @precondition(lambda self: self.sweep is None)
    @rule(slot=SLOT, keys=BATCHES)
    def add_at_unknown_depth(self, slot: int, keys: list[int]) -> None:
        """Where depths are not known any limit takes the keys away."""
        self.oracle.add(slot, keys, [UNKNOWN] * len(keys), UNKNOWN)
        self.table.add(slot, array(keys))

    @rule(slot=SLOT, keys=BATCHES)
    def remove(self, slot: int, keys: list[int]) -> None:
        """Endpoints remove keys as ever."""
        gone, removed = self.oracle.drop(slot, keys), self.table.remove(slot, array(keys))
        assert removed == gone or slot in self.dead | set(self.limits)
        self.kept.get(slot, set()).difference_update(keys)

    @rule(doublings=st.integers(0, 1))
    def rebuild(self, doublings: int) -> None:
        """The sweep begins again when the table's arrays are replaced."""
        self.table.adopt(self.table.rebuilt(MIN_CAPACITY << doublings, self.table.planes))

    @precondition(lambda self: self.sweep is None)
    @rule(dead=st.sets(SLOT, max_size=3), limits=st.dictionaries(SLOT, LAST_BUCKETS, max_size=3))
    def begin(self, dead: set[int], limits: dict[int, int]) -> None:
        """Some slots die, some are limited."""
        self.dead = dead
        self.limits = {slot: limit for slot, limit in limits.items() if slot not in dead}
        self.sweep = Sweep(self.table, sorted(dead), self.limits)
        self.kept = {
            slot: {key for key in self.oracle.of(slot) if self.oracle.buckets[key] <= limit}
            for slot, limit in self.limits.items()
        }

    @precondition(lambda self: self.sweep is not None)
    @rule(table_slots=st.sampled_from([1, 4, 8, 40, 1000, 1 << 14]))
    def step(self, table_slots: int) -> None:
        """At the end the dead hold nothing, and the limited nothing too deep."""
        assert self.sweep is not None
        if not self.sweep.step(table_slots):
            return
        for slot in self.dead:
            assert self.table.held(slot) == 0
            self.oracle.drop(slot, self.oracle.of(slot))
        for slot, limit in self.limits.items():
            keys, buckets = self.table.contents_of(slot)
            assert (buckets <= limit).all()
            self.oracle.drop(slot, self.oracle.of(slot) - set(keys.tolist()))
        self.sweep, self.dead, self.limits, self.kept = None, set(), {}, {}

    @invariant()
    def is_sound(self) -> None:
        """Slots that live on are not touched, and counters are exact throughout."""
        self.table.check_integrity()
        open_slots = self.dead | set(self.limits)
        self.oracle.check(self.table, set(self.oracle.held) - open_slots)
        for slot in open_slots:
            held = set(self.table.keys_of(slot).tolist())
            assert self.kept.get(slot, set()) <= held <= self.oracle.of(slot)


TestProgram = Program.TestCase
TestProgram.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_sweep_takes_away_what_a_clear_would() -> None:
    """Swept in steps, a table is left as after clearing each of the dead slots."""
    keys = random_keys(60_000)
    swept, cleared = BlockTable(), BlockTable()
    for table in (swept, cleared):
        for slot in range(100):
            table.add(slot, keys[slot * 500 : slot * 500 + 1000])

    sweep = Sweep(swept, range(0, 100, 2), {})
    steps = 1
    while not sweep.step():
        steps += 1
    for slot in range(0, 100, 2):
        cleared.clear(slot)

    assert steps > swept.capacity // 16384  # of two planes, a slot is wider
    swept.check_integrity()
    assert swept.stats == cleared.stats
    for slot in range(100):
        assert set(swept.keys_of(slot).tolist()) == set(cleared.keys_of(slot).tolist())


def test_a_limit_spares_the_bucket_itself() -> None:
    """A limited slot keeps the blocks up to its limit, and others keep theirs."""
    table, keys = BlockTable(), random_keys(256)
    buckets = np.arange(256, dtype=np.uint8)
    table.add(0, keys, buckets)
    table.add(1, keys, buckets)

    assert Sweep(table, (), {0: 9, 500: 1}).step()

    assert set(table.keys_of(0).tolist()) == set(keys[:10].tolist())
    assert table.held(1) == 256


def test_a_sweep_that_begins_among_full_groups_misses_nothing() -> None:
    """Entries that were pushed out of full groups are found before they move into them."""
    table, keys = BlockTable(), array([key << 32 for key in range(1, 30)])
    table.add(0, keys)
    table.add(1, keys[:10])
    table.add(2, keys)

    table.clear(2)
    sweep = Sweep(table, (0,), {})
    while not sweep.step(4):
        pass

    table.check_integrity()
    assert table.held(0) == table.held(2) == 0
    assert set(table.keys_of(1).tolist()) == set(keys[:10].tolist())
