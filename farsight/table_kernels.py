"""Numba kernels of `farsight.table`; `keys` has a power-of-two size, 0 marks an empty slot.

Keys are XXH64 digests, so their low bits are the slot without further mixing.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import numpy as np
from numba import njit

_ZERO = np.uint64(0)
_ONE = np.uint64(1)


@njit(cache=True, nogil=True, inline="always")
def _find(keys, key):
    """Slot that holds `key`, or the empty slot where it belongs."""
    last = np.uint64(keys.size - 1)
    at = key & last
    while keys[at] != _ZERO and keys[at] != key:
        at = (at + _ONE) & last
    return at


@njit(cache=True, nogil=True)
def find_all(keys, wanted):
    """Slots of the wanted keys."""
    out = np.empty(wanted.size, np.int64)
    for i in range(wanted.size):
        out[i] = np.int64(_find(keys, wanted[i]))
    return out


@njit(cache=True, nogil=True)
def add(keys, masks, added, plane, bit):
    """Set one bit on each key; returns (keys that are new, bits that were not set)."""
    flag = _ONE << np.uint64(bit)
    fresh = 0
    changed = 0
    for i in range(added.size):
        at = _find(keys, added[i])
        if keys[at] == _ZERO:
            keys[at] = added[i]
            fresh += 1
        if masks[at, plane] & flag == _ZERO:
            masks[at, plane] |= flag
            changed += 1
    return fresh, changed


@njit(cache=True, nogil=True)
def _delete(keys, masks, at):
    """Empty a slot and move later members of its probe run back."""
    last = np.uint64(keys.size - 1)
    hole = at
    nxt = (hole + _ONE) & last
    while keys[nxt] != _ZERO:
        home = keys[nxt] & last
        if ((nxt - home) & last) >= ((nxt - hole) & last):
            keys[hole] = keys[nxt]
            masks[hole] = masks[nxt]
            hole = nxt
        nxt = (nxt + _ONE) & last
    keys[hole] = _ZERO
    masks[hole] = _ZERO


@njit(cache=True, nogil=True)
def remove(keys, masks, removed, plane, bit):
    """Clear one bit on each key; returns (keys that are gone, bits that were set)."""
    flag = _ONE << np.uint64(bit)
    gone = 0
    changed = 0
    for i in range(removed.size):
        at = _find(keys, removed[i])
        if keys[at] == _ZERO or masks[at, plane] & flag == _ZERO:
            continue
        masks[at, plane] &= ~flag
        changed += 1
        held = _ZERO
        for p in range(masks.shape[1]):
            held |= masks[at, p]
        if held == _ZERO:
            _delete(keys, masks, at)
            gone += 1
    return gone, changed


@njit(cache=True, nogil=True)
def rehash(old_keys, old_masks, keys, masks):
    """Insert every entry of the old arrays into the new, empty ones."""
    for i in range(old_keys.size):
        if old_keys[i] != _ZERO:
            at = _find(keys, old_keys[i])
            keys[at] = old_keys[i]
            masks[at] = old_masks[i]


@njit(cache=True, nogil=True, inline="always")
def _end_runs(alive, held, plane, length, out):
    """Write `length` for the endpoints of a plane that stop holding; returns those that go on."""
    stopped = alive & ~held
    bit = 0
    while stopped != _ZERO:
        if stopped & _ONE:
            at = plane * 64 + bit
            if at < out.size:
                out[at] = length
        stopped >>= _ONE
        bit += 1
    return alive & held


@njit(cache=True, nogil=True)
def prefix_lengths(keys, masks, wanted, out):
    """Contiguous prefix of each endpoint slot in one table."""
    for plane in range(masks.shape[1]):
        alive = ~_ZERO
        length = 0
        while length < wanted.size and alive != _ZERO:
            at = _find(keys, wanted[length])
            held = masks[at, plane] if keys[at] != _ZERO else _ZERO
            if alive & ~held != _ZERO:
                alive = _end_runs(alive, held, plane, length, out)
            length += 1
        _end_runs(alive, _ZERO, plane, length, out)


@njit(cache=True, nogil=True)
def prefix_lengths_of_all(keys, masks, wanted, out):
    """Contiguous prefix where a block may lie in any of several tables, given as tuples."""
    planes = 0
    for t in range(len(masks)):
        planes = max(planes, masks[t].shape[1])
    for plane in range(planes):
        alive = ~_ZERO
        length = 0
        while length < wanted.size and alive != _ZERO:
            held = _ZERO
            for t in range(len(keys)):
                at = _find(keys[t], wanted[length])
                if keys[t][at] != _ZERO and plane < masks[t].shape[1]:
                    held |= masks[t][at, plane]
            if alive & ~held != _ZERO:
                alive = _end_runs(alive, held, plane, length, out)
            length += 1
        _end_runs(alive, _ZERO, plane, length, out)
