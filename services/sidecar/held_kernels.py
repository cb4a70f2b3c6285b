"""Numba kernels that read a whole BlockMap, and that rebuild one: pure but for what they return.

They may run in a thread while nobody changes the map. Where nothing is allocated, Numba need not
count the references of arrays (`_nrt`).
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import numpy as np
from numba import njit

_STORE = 1
_BLOCKS, _KEYS, _ORPHANS = 0, 1, 2
_ENTRIES, _LIVE_ENTRIES, _NODES, _LIVE_NODES = 0, 2, 3, 5
_UNKNOWN = -2
_32 = np.uint64(32)
_ZERO = np.uint64(0)
_ONE = np.uint64(1)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_MAX_COPIES = 1 << 31  # far from where the counter wraps


@njit(cache=True, nogil=True)
def held_keys(m, h):
    """Keys of a holding, those of position 0 first, and the number of keys at each position."""
    top = -1
    for node in range(m.totals[_NODES]):
        if m.refs[node, h] > 0:
            top = max(top, m.positions[node])
    counts = np.zeros(top + 1, np.int64)
    for node in range(m.totals[_NODES]):
        if m.refs[node, h] > 0:
            counts[m.positions[node]] += 1
    ends = np.cumsum(counts) - counts
    keys = np.empty(m.held[h, _KEYS], np.uint64)
    for node in range(m.totals[_NODES]):
        if m.refs[node, h] > 0:
            position = m.positions[node]
            keys[ends[position]] = m.keys[node]
            ends[position] += 1
    return keys, counts


@njit(cache=True, nogil=True, _nrt=False)
def announce(m, log, h):
    """Note all keys of a holding as stored; there is room for them.

    Rows follow each other as the engine announced them, so chains are few runs.
    """
    expected = -1
    for node in range(m.totals[_NODES]):
        if m.refs[node, h] <= 0:
            continue
        position = m.positions[node]
        if position != expected:
            run = log.used[1]
            log.runs[run, 0] = _STORE
            log.runs[run, 1] = h
            log.runs[run, 2] = position
            log.runs[run, 3] = 0
            log.used[1] += 1
        log.runs[log.used[1] - 1, 3] += 1
        expected = position + 1
        log.keys[log.used[0]] = m.keys[node]
        log.used[0] += 1


@njit(cache=True, nogil=True)
def export_nodes(m):
    """Keys and parents of the nodes, parents first, and the new number of each node.

    Otherwise in the order of the rows, so that chains stay together.
    """
    used = m.totals[_NODES]
    numbers = np.full(used, -1, np.int32)
    keys = np.empty(m.totals[_LIVE_NODES], np.uint64)
    parents = np.empty(keys.size, np.int32)
    path = np.empty(keys.size, np.int32)  # up to an ancestor that has its number
    at = 0
    for row in range(used):
        depth = 0
        node = row if m.positions[row] >= 0 else -1
        while node >= 0 and numbers[node] < 0:
            path[depth] = node
            depth += 1
            node = m.parents[node]
        for i in range(depth - 1, -1, -1):
            node = path[i]
            parent = m.parents[node]
            numbers[node] = at
            keys[at] = m.keys[node]
            parents[at] = numbers[parent] if parent >= 0 else -1
            at += 1
    return keys, parents, numbers


@njit(cache=True, nogil=True)
def export_entries(m, numbers):
    """Hashes, nodes by their new numbers, copies and lengths of the entries."""
    live = m.totals[_LIVE_ENTRIES]
    holdings = m.copies.shape[1]
    hashes = np.empty(live, np.uint64)
    nodes = np.empty(live, np.int32)
    copies = np.empty((live, holdings), np.uint32)
    lengths = np.empty((live, holdings), np.uint16)
    at = 0
    for entry in range(m.totals[_ENTRIES]):
        is_held = False
        for h in range(holdings):
            is_held |= m.copies[entry, h] != 0
        if is_held:
            hashes[at] = m.hashes[entry]
            nodes[at] = numbers[m.nodes[entry]] if m.nodes[entry] >= 0 else _UNKNOWN
            copies[at] = m.copies[entry]
            for h in range(holdings):
                lengths[at, h] = m.lengths[entry, h] if m.copies[entry, h] != 0 else 0
            at += 1
    return hashes, nodes, copies, lengths


@njit(cache=True, nogil=True, _nrt=False)
def _take_slot(index, names, row):
    """Enter a row; False when its name is there already."""
    name = names[row]
    tag = ((name ^ (name >> _32)) * _SPREAD) >> _32
    last = np.uint64(index.size - 1)
    at = (tag * np.uint64(index.size)) >> _32
    while index[at] != _ZERO:
        if (
            index[at] >> _32 == tag
            and names[np.int64(index[at] & np.uint64(0xFFFFFFFF)) - 1] == name
        ):
            return False
        at = (at + _ONE) & last
    index[at] = (tag << _32) | np.uint64(row + 1)
    return True


@njit(cache=True, nogil=True, _nrt=False)
def restore_nodes(m):
    """Index the nodes and give them positions; False when they are no forest of distinct keys."""
    for node in range(m.totals[_NODES]):
        parent = m.parents[node]
        if parent < -1 or parent >= node or m.keys[node] == _ZERO:
            return False
        m.positions[node] = m.positions[parent] + 1 if parent >= 0 else 0
        if parent >= 0:
            m.uses[parent] += 1
        if not _take_slot(m.node_index, m.keys, node):
            return False
    return True


@njit(cache=True, nogil=True, _nrt=False)
def _restore_held(m, entry, h):
    node = m.nodes[entry]
    m.held[h, _BLOCKS] += 1
    if node < 0:
        m.held[h, _ORPHANS] += 1
    for _ in range(m.lengths[entry, h]):
        if node < 0:
            break
        m.refs[node, h] += 1
        m.held[h, _KEYS] += m.refs[node, h] == 1
        node = m.parents[node]


@njit(cache=True, nogil=True, _nrt=False)
def restore_entries(m, max_length):
    """Index the entries and count what they hold; False when one of them cannot be."""
    for entry in range(m.totals[_ENTRIES]):
        node = m.nodes[entry]
        if (node < 0 and node != _UNKNOWN) or node >= m.totals[_NODES]:
            return False
        if node >= 0:
            m.uses[node] += 1
        is_held = False
        for h in range(m.copies.shape[1]):
            if (m.copies[entry, h] != 0) != (0 < m.lengths[entry, h] <= max_length):
                return False
            if m.copies[entry, h] > _MAX_COPIES:
                return False
            if m.copies[entry, h] != 0:
                is_held = True
                _restore_held(m, entry, h)
        if not is_held or not _take_slot(m.entry_index, m.hashes, entry):
            return False
    unused = 0
    for node in range(m.totals[_NODES]):
        unused += m.uses[node] == 0
    return unused == 0
