"""Kernel that sums up raw KV events: what came and what left, by engine and tier.

Within one message the order of changes to different keys means nothing, and of changes to one key
only the last counts; so a message is at most one REMOVE and one STORE for each tier.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import numpy as np
from numba import njit

_ZERO = np.uint64(0)
_ONE = np.uint64(1)
TIERS = 3


@njit(cache=True, nogil=True)
def group_of(engine, tier):
    """Number of the message part that a change goes to; the storage is engine -1."""
    return (engine + 1) * TIERS + tier - 1


@njit(cache=True, nogil=True)
def take_visible(rows, keys, changed, limit_s, groups):
    """Split off what happened by `limit_s`.

    :returns: (visible keys, their actions, start of each group in them, number of rows that stay,
        number of keys that stay); the rest is moved to the front of the three arrays.
    """
    starts = np.zeros(groups + 1, np.int64)
    for i in range(rows.size):
        if rows[i].time_s <= limit_s:
            starts[group_of(rows[i].engine, rows[i].tier) + 1] += rows[i].keys
    for g in range(groups):
        starts[g + 1] += starts[g]
    out_keys = np.empty(starts[groups], np.uint64)
    actions = np.empty(starts[groups], np.uint8)
    fill = starts[:groups].copy()
    stays, stay_keys = 0, 0
    for i in range(rows.size):
        row = rows[i]
        at, count = row.at, row.keys
        if row.time_s > limit_s:
            rows[stays] = rows[i]
            rows[stays].at = stay_keys
            for j in range(count):
                keys[stay_keys + j] = keys[at + j]
                changed[stay_keys + j] = changed[at + j]
            stays += 1
            stay_keys += count
            continue
        g = group_of(row.engine, row.tier)
        for j in range(count):
            if changed[at + j]:
                out_keys[fill[g]] = keys[at + j]
                actions[fill[g]] = row.action
                fill[g] += 1
    for g in range(groups):
        fill[g] = _keep_last(out_keys, actions, starts[g], fill[g])
    return out_keys, actions, starts[:groups], fill, stays, stay_keys


@njit(cache=True, nogil=True)
def _keep_last(keys, actions, start, end):
    """Keep one entry for each key, with its last action; returns the new end."""
    count = end - start
    if count < 2:
        return end
    room = 2
    while room < 2 * count:
        room *= 2
    last = np.uint64(room - 1)
    slots = np.full(room, -1, np.int64)
    kept = start
    for i in range(start, end):
        at = keys[i] & last
        while slots[at] >= 0 and keys[slots[at]] != keys[i]:
            at = (at + _ONE) & last
        if slots[at] >= 0:
            actions[slots[at]] = actions[i]
        else:
            slots[at] = kept
            keys[kept] = keys[i]
            actions[kept] = actions[i]
            kept += 1
    return kept
