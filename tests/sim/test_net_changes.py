"""Raw cache changes summed up, against a plain fold over them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sim.engine.layout import KV_EVENT, REMOVE, STORE
from sim.net_changes import TIERS, group_of, take_visible

ENGINES = 3
GROUPS = (ENGINES + 1) * TIERS
# Keys that meet in few slots of the summing table, and large ones.
KEYS = st.sampled_from([1, 2, 3, 1 << 20, (1 << 20) + 1, 1 << 63, (1 << 64) - 1])
CHANGES = st.lists(
    st.tuples(
        st.integers(-1, ENGINES - 1),
        st.integers(1, TIERS),
        st.sampled_from([STORE, REMOVE]),
        st.lists(st.tuples(KEYS, st.booleans()), max_size=4),
        st.sampled_from([0.0, 1.0, 2.0]),
    ),
    max_size=30,
)
Change = tuple[int, int, int, list[tuple[int, bool]], float]
Net = dict[int, dict[int, int]]


def arrays(changes: list[Change]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, keys and flags as engines give them, with room behind."""
    rows = np.zeros(len(changes), KV_EVENT)
    keys = [key for *_, named, _ in changes for key in named]
    at = 0
    for row, (engine, tier, action, named, time_s) in zip(rows, changes, strict=True):
        row["time_s"], row["engine"], row["tier"], row["action"] = time_s, engine, tier, action
        row["at"], row["keys"] = at, len(named)
        at += len(named)
    return (
        rows,
        np.array([key for key, _ in keys] + [0] * 3, np.uint64),
        np.array([flag for _, flag in keys] + [False] * 3, np.bool_),
    )


def folded(changes: list[Change]) -> Net:
    """For each part of a message, the last action on each key that changed."""
    net: Net = {}
    for engine, tier, action, named, _ in changes:
        for key, is_changed in named:
            if is_changed:
                net.setdefault(group_of(engine, tier), {})[key] = action
    return net


def summed(taken: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int, int]) -> Net:
    """The same of what the kernel answered; no key is there twice."""
    keys, actions, starts, ends, _, _ = taken
    net: Net = {}
    for group in range(GROUPS):
        span = slice(starts[group], ends[group])
        found = dict(zip(keys[span].tolist(), actions[span].tolist(), strict=True))
        assert len(found) == ends[group] - starts[group]
        if found:
            net[group] = found
    return net


def test_every_engine_and_tier_has_its_own_part() -> None:
    """And so has the storage, which is engine -1."""
    groups = [group_of(e, t) for e in range(-1, ENGINES) for t in range(1, TIERS + 1)]

    assert sorted(groups) == list(range(GROUPS))


@given(CHANGES, st.sampled_from([-1.0, 0.0, 1.0, 2.0]))
def test_what_is_visible_is_summed_up_and_the_rest_stays(
    changes: list[Change], limit_s: float
) -> None:
    """The last change of a key counts; later looks give what is left, in its order."""
    rows, keys, flags = arrays(changes)
    now = [change for change in changes if change[-1] <= limit_s]
    later = [change for change in changes if change[-1] > limit_s]

    first = take_visible(rows, keys, flags, limit_s, GROUPS)
    stays, stay_keys = first[4], first[5]
    second = take_visible(rows[:stays], keys, flags, np.inf, GROUPS)

    assert summed(first) == folded(now)
    assert (stays, stay_keys) == (len(later), sum(len(named) for *_, named, _ in later))
    assert summed(second) == folded(later)
    assert second[4:] == (0, 0)
