"""Rules of KV groups against their definition."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farsight import group_rules
from farsight.group_rules import Rows

SLOTS = (0, 1, 63, 64, 90)
HELD = st.lists(st.sets(st.sampled_from(SLOTS)), min_size=20, max_size=20)
GROUPS = st.lists(st.tuples(st.sampled_from(["prefix", "suffix", "checkpoint"]), HELD), max_size=3)


def rows_of(held: Sequence[set[int]], planes: int = 2) -> Rows:
    """One row per block from the slots that hold it."""
    rows = np.zeros((len(held), planes), np.uint64)
    for block, slots in enumerate(held):
        for slot in slots:
            if slot // 64 < planes:
                rows[block, slot // 64] |= np.uint64(1 << slot % 64)
    return rows


def is_usable(length: int, rule: str, window: int, held: Sequence[bool]) -> bool:
    """The rule's definition, for one endpoint."""
    first = {"prefix": 0, "suffix": max(0, length - window), "checkpoint": length - 1}[rule]
    return all(held[first:length])


@settings(deadline=None)
@given(st.integers(0, 20), GROUPS, st.integers(1, 22), st.integers(1, 2))
def test_the_longest_prefix_satisfies_every_group(
    blocks: int, groups: list[tuple[str, list[set[int]]]], window: int, planes: int
) -> None:
    """The answer is the largest length that each group's rule allows; a plane that rows lack is
    a plane of endpoints that hold nothing."""
    valid = group_rules.every_length(blocks, 2)
    for rule, held in groups:
        rows = rows_of(held[:blocks], planes)
        if rule == "prefix":
            group_rules.apply_prefix(rows, valid)
        elif rule == "suffix":
            group_rules.apply_suffix(rows, valid, window)
        else:
            group_rules.apply_checkpoint(rows, valid)
    out = np.full(91, 77, np.uint32)
    group_rules.longest(valid, rows_of([{0, 1, 64, 90}])[0], out)

    for slot in (0, 1, 64, 90):
        allowed = [
            length
            for length in range(blocks + 1)
            if all(
                is_usable(length, rule, window, [slot in h and slot < 64 * planes for h in held])
                for rule, held in groups
            )
        ]
        assert out[slot] == max(allowed)
    assert set(np.delete(out, [0, 1, 64, 90]).tolist()) == {77}


@pytest.mark.parametrize("window", [0, 1, 3, 100])
def test_a_sliding_window_needs_the_end_of_the_prefix_only(window: int) -> None:
    """A hole is in the way of prefixes whose window it is in, and of no others."""
    held = [block != 10 for block in range(40)]
    valid = group_rules.every_length(40, 1)

    group_rules.apply_suffix(rows_of([{0} if h else set() for h in held], 1), valid, window)

    usable = [bool(valid[length - 1, 0] & np.uint64(1)) for length in range(1, 41)]
    assert usable == [is_usable(length, "suffix", window, held) for length in range(1, 41)]
