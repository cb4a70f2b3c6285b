"""Numba kernels on rows, uint64[blocks, planes]: a bit tells whether an endpoint holds a block."""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import numpy as np
from numba import njit

from farsight.lanes import lowest_bit

_ZERO = np.uint64(0)
_ONE = np.uint64(1)


@njit(cache=True, nogil=True)
def gather(entries, planes, starts, rows):
    """OR masks, which start at `starts` in a table's entries, into rows."""
    shared = min(planes, rows.shape[1])
    for i in range(starts.size):
        for p in range(shared):
            rows[i, p] |= entries[starts[i] + p]


@njit(cache=True, nogil=True)
def gather_pooled(entries, planes, starts, pools, rows):
    """`gather`, where a mask with one member of a pool counts as one with all its members."""
    mask = np.zeros(planes, np.uint64)
    whole = np.zeros(rows.shape[1], np.uint64)
    for i in range(starts.size):
        # Along a prompt the same pools hold block after block: the last answer mostly fits.
        is_same = True
        for p in range(planes):
            is_same &= mask[p] == entries[starts[i] + p]
            mask[p] = entries[starts[i] + p]
        if not is_same:
            _expand(mask, pools, whole)
        for p in range(whole.size):
            rows[i, p] |= whole[p]


@njit(cache=True, nogil=True)
def _expand(mask, pools, whole):
    """Write a mask and all members of the pools in it to `whole`."""
    shared = min(mask.size, pools.shape[1])
    for p in range(whole.size):
        whole[p] = mask[p] if p < mask.size else _ZERO
    for pool in range(pools.shape[0]):
        hit = _ZERO
        for p in range(shared):
            hit |= mask[p] & pools[pool, p]
        if hit != _ZERO:
            for p in range(min(whole.size, pools.shape[1])):
                whole[p] |= pools[pool, p]


@njit(cache=True, nogil=True)
def end_prefixes(rows, first, alive, out):
    """Write the prefix of the endpoints of `alive` that stop in these rows, the first of which is
    block `first`, and take them out of `alive`; returns whether any are left.
    """
    is_any = False
    for i in range(rows.shape[0]):
        stopped = _ZERO
        for p in range(alive.size):
            stopped |= alive[p] & ~rows[i, p]
        if stopped == _ZERO:
            continue
        left = _ZERO
        for p in range(alive.size):
            ended = alive[p] & ~rows[i, p]
            alive[p] &= rows[i, p]
            left |= alive[p]
            while ended != _ZERO:
                out[p * 64 + lowest_bit(ended)] = first + i
                ended &= ended - _ONE
        if left == _ZERO:
            return False
    for p in range(alive.size):
        is_any |= alive[p] != _ZERO
    return is_any
