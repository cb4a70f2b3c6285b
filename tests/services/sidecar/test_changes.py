"""The log of changes."""

from services.sidecar.changes import MIN_CAPACITY, Action, Change, ChangeLog, Tier
from services.sidecar.mirror import Mirror
from tests.services.sidecar.events_for import LAYOUT, follow, keys_of, remove, store, tokens_of

A, B = tokens_of(1), tokens_of(2)


def test_an_empty_log_has_no_changes() -> None:
    """Also when it was never used."""
    assert ChangeLog().take() == ()


def test_spans_say_where_keys_stand() -> None:
    """A chain is one span; another prompt of the same batch is another one in the same change."""
    keys, other = keys_of(A + B), keys_of(B)

    changes = follow(
        Mirror(LAYOUT), store([1, 2], A + B), store([9], B), store([8], A, medium=None)
    )

    assert changes == [Change(Action.STORE, Tier.DEVICE, 0, keys + other, (0, 2, 0, 1))]


def test_changes_keep_their_order() -> None:
    """What is stored, removed and stored again is there in the end."""
    keys = keys_of(A)

    changes = follow(Mirror(LAYOUT), store([1], A), remove(1), store([1], A))

    assert [change.action for change in changes] == [Action.STORE, Action.REMOVE, Action.STORE]
    assert {change.keys for change in changes} == {keys}


def test_tiers_and_groups_are_changes_of_their_own() -> None:
    """Each says what it is about."""
    changes = follow(
        Mirror(LAYOUT),
        store([1], A),
        store([1], A, group_idx=4, kind="mamba"),
        store([1], A, group_idx=4, kind="mamba", medium="CPU"),
    )

    assert [(change.tier, change.group) for change in changes] == [
        (Tier.DEVICE, 0),
        (Tier.DEVICE, 1),
        (Tier.HOST, 1),
    ]


def test_a_log_grows_and_shrinks() -> None:
    """A batch may change more than there is room for; the memory is given back."""
    mirror, log = Mirror(LAYOUT), ChangeLog()
    follow(mirror, store(range(2 * MIN_CAPACITY), list(range(32 * MIN_CAPACITY))))

    mirror.announce(log)

    assert log.capacity > MIN_CAPACITY
    (change,) = log.take()
    assert change.spans == (0, 2 * MIN_CAPACITY)
    assert log.capacity == MIN_CAPACITY
