"""Contents of snapshots, moved on by deltas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farsight.cli.index_contents import Contents, Place, advanced, gathered, of_snapshot
from farsight.errors import InvalidField
from farsight.keys import Keys
from farsight.pb.events_pb2 import KvChange, KvDelta, KvSnapshot, TierKeys
from farsight.pb.types_pb2 import TIER_DEVICE, TIER_HOST, Tier
from tests.farsight.index.messages import CLEAR, REMOVE, STORE, packed

PLACES = st.tuples(st.sampled_from([TIER_DEVICE, TIER_HOST]), st.integers(0, 2))
SETS = st.frozensets(st.integers(1, 8))
CHANGES = st.tuples(st.sampled_from([STORE, STORE, REMOVE, CLEAR]), PLACES, SETS)


def array(keys: frozenset[int]) -> Keys:
    """Keys in any order."""
    return np.array(list(keys), np.uint64)


def plain(contents: Contents) -> dict[Place, list[int]]:
    """Keys as lists."""
    return {at: keys.tolist() for at, keys in contents.held.items()}


@given(
    st.dictionaries(PLACES, SETS),
    st.lists(st.lists(CHANGES, max_size=4), max_size=6),
)
def test_deltas_move_contents_on(
    held: dict[Place, frozenset[int]],
    deltas: list[list[tuple[KvChange.Action.ValueType, Place, frozenset[int]]]],
) -> None:
    """As sets would: CLEAR is of a tier and all its groups, the last word on a key counts."""
    base = gathered(7, 3, [(at, array(keys)) for at, keys in held.items()])
    messages = [
        KvDelta(
            epoch=7,
            seq=4 + i,
            changes=[
                KvChange(action=action, tier=tier, group=group, keys=packed(keys))
                for action, (tier, group), keys in changes
            ],
        )
        for i, changes in enumerate(deltas)
    ]

    after = advanced(base, messages)

    expected = {at: set(keys) for at, keys in held.items()}
    for action, at, keys in (change for delta in deltas for change in delta):
        if action == CLEAR:
            expected = {place: k for place, k in expected.items() if place[0] != at[0]}
        elif action == STORE:
            expected.setdefault(at, set()).update(keys)
        else:
            expected.setdefault(at, set()).difference_update(keys)
    assert plain(after) == {at: sorted(keys) for at, keys in expected.items() if keys}
    assert (after.epoch, after.seq) == (7, 3 + len(deltas))


def test_a_snapshot_that_contradicts_itself_is_refused() -> None:
    """The count of blocks is checked."""
    snapshot = KvSnapshot(tiers=[TierKeys(tier=TIER_HOST, keys=packed([2, 1]))], block_count=3)

    with pytest.raises(InvalidField, match="block_count"):
        of_snapshot(snapshot)
    snapshot.block_count = 2
    assert plain(of_snapshot(snapshot)) == {(TIER_HOST, 0): [1, 2]}


def test_tiers_that_the_index_does_not_know_are_left_out() -> None:
    """They count as nothing there, too."""
    unknown = Tier.ValueType(9)

    contents = gathered(1, 1, [((unknown, 0), array(frozenset([1])))])

    assert contents.held == {}
    delta = KvDelta(changes=[KvChange(action=STORE, tier=unknown, keys=packed([1]))])
    assert advanced(contents, [delta]).held == {}
