"""Numba kernels of `farsight.table` and `farsight.table_sweep`.

A table is a power of two of groups. A group is `words` uint64 in a row: the keys of its 4 slots,
then their masks, `planes` words each. With one plane that is one cache line, so to look a key up
costs one miss. A key belongs in the group of its low bits (it is an XXH64 digest, which needs no
further mixing) or, when that is full, in the next one with room. Within a group the used slots
come first; a key of 0 marks an empty slot, and its mask is 0. `buckets` has a byte per slot.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import numpy as np
from numba import njit

from farsight.lanes import LANES, lanes_equal, lowest_bit, prefetch

GROUP = LANES
UNKNOWN_BUCKET = 255
_AHEAD = 16  # keys whose cache lines are on their way while one is worked on
_ZERO = np.uint64(0)
_ONE = np.uint64(1)


@njit(cache=True, nogil=True, inline="always")
def _find(entries, words, last, key):
    """Slot that holds `key`, or the empty one where it belongs; `last`: number of groups - 1."""
    group = np.int64(key & np.uint64(last))
    while True:
        found = lanes_equal(entries, group * words, key)
        if found == 0:
            found = lanes_equal(entries, group * words, _ZERO)
        if found != 0:
            return group * GROUP + lowest_bit(np.uint64(found))
        group = (group + 1) & last


@njit(cache=True, nogil=True, inline="always")
def _key_at(words, slot):
    """Index of a slot's key."""
    return (slot >> 2) * words + (slot & 3)


@njit(cache=True, nogil=True, inline="always")
def _row_at(words, slot):
    """Index of the first word of a slot's mask."""
    return (slot >> 2) * words + GROUP + (slot & 3) * (words // GROUP - 1)


@njit(cache=True, nogil=True, inline="always")
def _shape(entries, planes):
    """Words in a group, and the number of groups - 1."""
    words = GROUP * (planes + 1)
    return words, entries.size // words - 1


@njit(cache=True, nogil=True)
def find_rows(entries, planes, wanted, out):
    """Index of the first word of each key's mask; the mask of a key that is not there is 0."""
    words, last = _shape(entries, planes)
    for i in range(wanted.size):
        if i + _AHEAD < wanted.size:
            prefetch(entries, np.int64(wanted[i + _AHEAD] & np.uint64(last)) * words)
        out[i] = _row_at(words, _find(entries, words, last, wanted[i]))
        prefetch(entries, out[i])
        prefetch(entries, out[i] + planes - 1)


@njit(cache=True, nogil=True)
def add(entries, buckets, held, added, given, planes, slot, limit):
    """Set one bit on each key; returns (keys that are new, bits that were not set).

    `given` are the keys' buckets; empty: they are not known.
    """
    words, last = _shape(entries, planes)
    plane, flag = slot >> 6, _ONE << np.uint64(slot & 63)
    is_known, is_limited = given.size > 0, limit < UNKNOWN_BUCKET
    fresh = 0
    changed = 0
    for i in range(added.size):
        if i + _AHEAD < added.size:
            prefetch(entries, np.int64(added[i + _AHEAD] & np.uint64(last)) * words)
        at = _find(entries, words, last, added[i])
        is_fresh = entries[_key_at(words, at)] == _ZERO
        bucket = np.int64(given[i]) if is_known else UNKNOWN_BUCKET
        if (is_known or is_limited) and not is_fresh:
            bucket = min(bucket, np.int64(buckets[at]))
        if bucket > limit:
            continue
        if is_fresh:
            entries[_key_at(words, at)] = added[i]
            fresh += 1
        if is_fresh or is_known:
            buckets[at] = bucket
        row = _row_at(words, at) + plane
        if entries[row] & flag == _ZERO:
            entries[row] |= flag
            changed += 1
    held[slot] += changed
    return fresh, changed


@njit(cache=True, nogil=True)
def _move(entries, buckets, words, source, target):
    entries[_key_at(words, target)] = entries[_key_at(words, source)]
    for p in range(words // GROUP - 1):
        entries[_row_at(words, target) + p] = entries[_row_at(words, source) + p]
    buckets[target] = buckets[source]


@njit(cache=True, nogil=True)
def _pushed_out(entries, words, last, group):
    """A slot in a later group whose key belongs in `group` or before it; -1 when there is none."""
    later = (group + 1) & last
    while True:
        for slot in range(later * GROUP, later * GROUP + GROUP):
            key = entries[_key_at(words, slot)]
            if key == _ZERO:
                return -1
            home = np.int64(key & np.uint64(last))
            if ((later - home) & last) >= ((later - group) & last):
                return slot
        later = (later + 1) & last


@njit(cache=True, nogil=True)
def _delete(entries, buckets, words, last, slot):
    """Empty a slot: the last one of its group takes its place, and so on along full groups.

    Entries only ever move to a lower slot (around the end of the table), never before their home.
    """
    hole = slot
    while True:
        group = hole >> 2
        free = lanes_equal(entries, group * words, _ZERO)
        used = GROUP if free == 0 else lowest_bit(np.uint64(free))
        tail = group * GROUP + used - 1
        if tail != hole:
            _move(entries, buckets, words, tail, hole)
        hole = tail
        successor = _pushed_out(entries, words, last, group) if used == GROUP else -1
        if successor < 0:
            break
        _move(entries, buckets, words, successor, hole)
        hole = successor
    entries[_key_at(words, hole)] = _ZERO
    for p in range(words // GROUP - 1):
        entries[_row_at(words, hole) + p] = _ZERO


@njit(cache=True, nogil=True, inline="always")
def _drop(entries, held, row, plane, bits):
    """Take bits out of a word of a mask and count them out."""
    entries[row + plane] &= ~bits
    while bits != _ZERO:
        held[plane * 64 + lowest_bit(bits)] -= 1
        bits &= bits - _ONE


@njit(cache=True, nogil=True, inline="always")
def _is_blank(entries, row, planes):
    """Nobody holds the entry."""
    rest = _ZERO
    for p in range(planes):
        rest |= entries[row + p]
    return rest == _ZERO


@njit(cache=True, nogil=True)
def remove(entries, buckets, held, removed, planes, slot):
    """Clear one bit on each key; returns (keys that are gone, bits that were set)."""
    words, last = _shape(entries, planes)
    plane, flag = slot >> 6, _ONE << np.uint64(slot & 63)
    gone = 0
    changed = 0
    for i in range(removed.size):
        if i + _AHEAD < removed.size:
            prefetch(entries, np.int64(removed[i + _AHEAD] & np.uint64(last)) * words)
        at = _find(entries, words, last, removed[i])
        row = _row_at(words, at)
        if entries[row + plane] & flag == _ZERO:
            continue
        entries[row + plane] ^= flag
        changed += 1
        if entries[row + plane] == _ZERO and _is_blank(entries, row, planes):
            _delete(entries, buckets, words, last, at)
            gone += 1
    held[slot] -= changed
    return gone, changed


@njit(cache=True, nogil=True)
def remove_everywhere(entries, buckets, held, removed, planes, members):
    """Clear the bits of `members`, one word a plane, on each key; returns keys that are gone."""
    words, last = _shape(entries, planes)
    gone = 0
    for i in range(removed.size):
        at = _find(entries, words, last, removed[i])
        if entries[_key_at(words, at)] == _ZERO:
            continue
        row = _row_at(words, at)
        for p in range(planes):
            _drop(entries, held, row, p, entries[row + p] & members[p])
        if _is_blank(entries, row, planes):
            _delete(entries, buckets, words, last, at)
            gone += 1
    return gone


@njit(cache=True, nogil=True)
def group_with_room(entries, planes, start):
    """The first group from `start` on, around the end, that is not full."""
    words, last = _shape(entries, planes)
    group = start & last
    while entries[group * words + GROUP - 1] != _ZERO:
        group = (group + 1) & last
    return group


@njit(cache=True, nogil=True)
def clear(entries, buckets, held, planes, slot):
    """Clear one bit everywhere, downwards from a group with room; returns keys that are gone.

    Deletion moves entries to lower slots only: what it moves has been looked at.
    """
    words, last = _shape(entries, planes)
    plane, flag = slot >> 6, _ONE << np.uint64(slot & 63)
    start = group_with_room(entries, planes, 0)
    gone = 0
    for step in range(last + 1):
        group = (start - step) & last
        first = group * words + GROUP + plane
        seen = _ZERO
        for lane in range(GROUP):
            seen |= entries[first + lane * planes]
        if seen & flag == _ZERO:
            continue
        for at in range(group * GROUP + GROUP - 1, group * GROUP - 1, -1):
            row = _row_at(words, at)
            if entries[row + plane] & flag != _ZERO:
                entries[row + plane] ^= flag
                if _is_blank(entries, row, planes):
                    _delete(entries, buckets, words, last, at)
                    gone += 1
    held[slot] = 0
    return gone


@njit(cache=True, nogil=True)
def sweep(entries, buckets, held, planes, doomed, group, groups):
    """Take `doomed[bucket]`, one word a plane, from the entries of groups downwards from `group`.

    Returns keys that are gone.
    """
    words, last = _shape(entries, planes)
    gone = 0
    for step in range(groups):
        first = ((group - step) & last) * GROUP
        for at in range(first + GROUP - 1, first - 1, -1):
            if entries[_key_at(words, at)] == _ZERO:
                continue
            row = _row_at(words, at)
            bucket = np.int64(buckets[at])
            is_hit = False
            for p in range(planes):
                bits = entries[row + p] & doomed[bucket, p]
                if bits != _ZERO:
                    _drop(entries, held, row, p, bits)
                    is_hit = True
            if is_hit and _is_blank(entries, row, planes):
                _delete(entries, buckets, words, last, at)
                gone += 1
    return gone


@njit(cache=True, nogil=True)
def rehash(old_entries, old_buckets, old_planes, entries, buckets, planes):
    """Insert every entry of the old arrays into the new, empty ones."""
    old_words, old_last = _shape(old_entries, old_planes)
    words, last = _shape(entries, planes)
    for source in range((old_last + 1) * GROUP):
        key = old_entries[_key_at(old_words, source)]
        if key == _ZERO:
            continue
        at = _find(entries, words, last, key)
        entries[_key_at(words, at)] = key
        for p in range(old_planes):
            entries[_row_at(words, at) + p] = old_entries[_row_at(old_words, source) + p]
        buckets[at] = old_buckets[source]


@njit(cache=True, nogil=True)
def contents(entries, buckets, planes, slot, keys_out, buckets_out):
    """Keys with one bit set, and their buckets; the outputs are as long as they are many."""
    words, last = _shape(entries, planes)
    plane, flag = slot >> 6, _ONE << np.uint64(slot & 63)
    found = 0
    for at in range((last + 1) * GROUP):
        if found < keys_out.size and entries[_row_at(words, at) + plane] & flag != _ZERO:
            keys_out[found] = entries[_key_at(words, at)]
            buckets_out[found] = buckets[at]
            found += 1
    return found


@njit(cache=True, nogil=True)
def bucket_counts(entries, buckets, planes, rows_of, out):
    """Entries of each bucket per endpoint slot; `rows_of[slot]` is its row of `out`, or -1."""
    words, last = _shape(entries, planes)
    for at in range((last + 1) * GROUP):
        row = _row_at(words, at)
        for p in range(planes):
            bits = entries[row + p]
            while bits != _ZERO:
                to = rows_of[p * 64 + lowest_bit(bits)]
                if to >= 0:
                    out[to, buckets[at]] += 1
                bits &= bits - _ONE


@njit(cache=True, nogil=True, inline="always")
def _end_runs(stopped, plane, length, out):
    """Write the prefix of the endpoints of a plane that stop holding."""
    while stopped != _ZERO:
        out[plane * 64 + lowest_bit(stopped)] = length
        stopped &= stopped - _ONE


@njit(cache=True, nogil=True)
def prefix_lengths(entries, wanted, out):
    """Contiguous prefix of at most 64 endpoint slots, `out.size`, in one table of one plane."""
    words, last = _shape(entries, 1)
    alive = ~_ZERO >> np.uint64(64 - out.size)
    for i in range(min(_AHEAD, wanted.size)):
        prefetch(entries, np.int64(wanted[i] & np.uint64(last)) * words)
    for i in range(wanted.size):
        if i + _AHEAD < wanted.size:
            prefetch(entries, np.int64(wanted[i + _AHEAD] & np.uint64(last)) * words)
        held = entries[_row_at(words, _find(entries, words, last, wanted[i]))]
        if alive & ~held != _ZERO:
            _end_runs(alive & ~held, 0, i, out)
            alive &= held
            if alive == _ZERO:
                return
    _end_runs(alive, 0, wanted.size, out)
