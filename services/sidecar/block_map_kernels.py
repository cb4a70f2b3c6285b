"""Numba kernels that apply events to a BlockMap; a call works through many events.

Changes go to the arrays of a ChangeLog (see its module for their form). A kernel stops where there
is no room for what the next block may change, or where an event needs what only Python knows, and
is called again from there. Nothing is allocated here, so Numba need not count the references of the
arrays (`_nrt`), which would take most of the time.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import numpy as np
from numba import njit

from farsight.keys import block_key

kernel = njit(cache=True, nogil=True, _nrt=False)
inlined = njit(cache=True, nogil=True, _nrt=False, inline="always")

# What one event needs beside its row; filled in by the mirror where the tables do not tell.
PLAN = np.dtype(
    [
        ("state", "i4"),  # ASK first; PLANNED or SKIP once the mirror has looked at the event
        ("holding", "i4"),
        ("length", "i4"),  # canonical blocks that each block covers; -K: a part of a block of K
        ("extras", "i4"),  # canonical blocks with extras
        ("first_extra", "i8"),
        ("seed", "u8"),
    ],
    align=True,
)
ASK, PLANNED, SKIP = 0, 1, 2
DONE, NEEDS_PLAN, NEEDS_ROOM, CLEARS = 0, 1, 2, 3  # why `apply` returns
MEDIUM, UNKNOWN_REMOVAL, ORPHAN, PARTIAL, FULL, STORAGE_FULL, HOST_USED = range(7)  # of `counts`

_REMOVED = 1  # kind of event
_STORE, _REMOVE = 1, 2  # actions
_BLOCKS, _KEYS, _ORPHANS = range(3)
_ENTRIES, _FREE_ENTRY, _LIVE_ENTRIES, _NODES, _FREE_NODE, _LIVE_NODES = range(6)
_HOST, _STORAGE = 2, 3
_ROOT, _UNKNOWN = -1, -2
_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_ZERO, _ONE = np.uint64(0), np.uint64(1)


@inlined
def _tag(name):
    return ((name ^ (name >> _32)) * _SPREAD) >> _32


@inlined
def _find(index, names, name):
    """Row of a name, -1 when it is not there."""
    tag = _tag(name)
    at = (tag * np.uint64(index.size)) >> _32
    while index[at] != _ZERO:
        if index[at] >> _32 == tag:
            row = np.int64(index[at] & _LOW) - 1
            if names[row] == name:
                return row
        at = (at + _ONE) & np.uint64(index.size - 1)
    return -1


@inlined
def _insert(index, tag, row):
    at = (tag * np.uint64(index.size)) >> _32
    while index[at] != _ZERO:
        at = (at + _ONE) & np.uint64(index.size - 1)
    index[at] = (tag << _32) | np.uint64(row + 1)


@kernel
def _delete(index, name, row):
    """Empty a row's slot and move later members of its probe run back."""
    last, hole = np.uint64(index.size - 1), (_tag(name) * np.uint64(index.size)) >> _32
    while index[hole] != (_tag(name) << _32) | np.uint64(row + 1):
        hole = (hole + _ONE) & last
    following = (hole + _ONE) & last
    while index[following] != _ZERO:
        home = ((index[following] >> _32) * np.uint64(index.size)) >> _32
        if ((following - home) & last) >= ((following - hole) & last):
            index[hole] = index[following]
            hole = following
        following = (following + _ONE) & last
    index[hole] = _ZERO


@kernel
def reindex(old, new):
    """Fill an empty index of another size."""
    for i in range(old.size):
        if old[i] != _ZERO:
            _insert(new, old[i] >> _32, np.int64(old[i] & _LOW) - 1)


@inlined
def _new_entry(m, name):
    entry = m.totals[_FREE_ENTRY] - 1
    if entry >= 0:
        m.totals[_FREE_ENTRY] = m.nodes[entry]
    else:
        entry = m.totals[_ENTRIES]
        m.totals[_ENTRIES] += 1
    m.totals[_LIVE_ENTRIES] += 1
    m.hashes[entry] = name
    m.nodes[entry] = _UNKNOWN
    _insert(m.entry_index, _tag(name), entry)
    return entry


@inlined
def _new_node(m, key, parent):
    node = m.totals[_FREE_NODE] - 1
    if node >= 0:
        m.totals[_FREE_NODE] = m.parents[node]
    else:
        node = m.totals[_NODES]
        m.totals[_NODES] += 1
    m.totals[_LIVE_NODES] += 1
    m.keys[node] = key
    m.parents[node] = parent
    m.positions[node] = 0
    if parent >= 0:
        m.positions[node] = m.positions[parent] + 1
        m.uses[parent] += 1
    _insert(m.node_index, _tag(key), node)
    return node


@inlined
def _drop_use(m, node):
    """One entry or child fewer; free the node, and its ancestors, that nobody needs any more."""
    while node >= 0:
        m.uses[node] -= 1
        if m.uses[node] > 0:
            return
        parent = m.parents[node]
        _delete(m.node_index, m.keys[node], node)
        m.positions[node] = -1
        m.parents[node] = m.totals[_FREE_NODE]
        m.totals[_FREE_NODE] = node + 1
        m.totals[_LIVE_NODES] -= 1
        node = parent


@inlined
def _drop_if_unheld(m, entry):
    for h in range(m.copies.shape[1]):
        if m.copies[entry, h] != 0:
            return
    _delete(m.entry_index, m.hashes[entry], entry)
    node = m.nodes[entry]
    m.nodes[entry] = m.totals[_FREE_ENTRY]
    m.totals[_FREE_ENTRY] = entry + 1
    m.totals[_LIVE_ENTRIES] -= 1
    if node >= 0:
        _drop_use(m, node)


@inlined
def _note(log, action, h, key, position):
    """Append a key to the log; there is room. STORE runs have rising positions."""
    run = log.used[1] - 1
    same = run >= 0 and log.runs[run, 0] == action and log.runs[run, 1] == h
    if same and action == _STORE:
        same = log.runs[run, 2] + log.runs[run, 3] == position
    if not same:
        run += 1
        log.used[1] += 1
        log.runs[run, 0], log.runs[run, 1] = action, h
        log.runs[run, 2], log.runs[run, 3] = position, 0
    log.runs[run, 3] += 1
    log.keys[log.used[0]] = key
    log.used[0] += 1


@inlined
def _hold(m, log, h, node, skip, length):
    """Count a block on its nodes, from the last up, but for the first `skip` of them."""
    fresh = 0
    for i in range(length):
        if node < 0:
            break
        if i >= skip:
            m.refs[node, h] += 1
            if m.refs[node, h] == 1:
                m.path[fresh] = node
                fresh += 1
        node = m.parents[node]
    m.held[h, _KEYS] += fresh
    for i in range(fresh - 1, -1, -1):
        _note(log, _STORE, h, m.keys[m.path[i]], m.positions[m.path[i]])


@inlined
def _release(m, log, h, entry):
    """The last copy of a block is gone."""
    m.held[h, _BLOCKS] -= 1
    node = m.nodes[entry]
    if node < 0:
        m.held[h, _ORPHANS] -= 1
    for _ in range(m.lengths[entry, h]):
        if node < 0:
            break
        m.refs[node, h] -= 1
        if m.refs[node, h] == 0:
            m.held[h, _KEYS] -= 1
            _note(log, _REMOVE, h, m.keys[node], m.positions[node])
        node = m.parents[node]
    _drop_if_unheld(m, entry)


@inlined
def _resolve(m, log, entry, node):
    """The key of an orphan has become known, on every holding that has it."""
    m.nodes[entry] = node
    m.uses[node] += 1
    for h in range(m.copies.shape[1]):
        if m.copies[entry, h] != 0:
            m.held[h, _ORPHANS] -= 1
            _hold(m, log, h, node, 0, np.int64(m.lengths[entry, h]))


@inlined
def _add_copy(m, log, h, entry, length, counts_copies):
    known = np.int64(m.lengths[entry, h])
    node = m.nodes[entry]
    if m.copies[entry, h] != 0:
        if counts_copies:
            m.copies[entry, h] += 1
        if length > known:
            m.lengths[entry, h] = length
            if node >= 0:
                _hold(m, log, h, node, known, length)
        return
    m.copies[entry, h] = 1
    m.lengths[entry, h] = length
    m.held[h, _BLOCKS] += 1
    if node >= 0:
        _hold(m, log, h, node, 0, length)
    else:
        m.held[h, _ORPHANS] += 1


@inlined
def _chain(m, row, plan, block, parent, tokens, extras, unit):
    """Node of a block of a span by its tokens, made with its inner nodes where they are new."""
    key = plan.seed if parent == _ROOT else m.keys[parent]
    inner = row.block_tokens // unit
    for at in range(block * inner, (block + 1) * inner):
        extra = extras[plan.first_extra + at] if at < plan.extras else _ZERO
        key = block_key(key, tokens, row.first_token + at * unit, unit, extra)
        node = _find(m.node_index, m.keys, key)
        if node < 0:
            node = _new_node(m, key, parent)
        parent = node
    return parent


@inlined
def _before(m, row, block, hashes):
    """Node of the block before a block of a span, _ROOT at a prompt's start."""
    if block == 0 and row.has_parent == 0:
        return _ROOT
    name = row.parent if block == 0 else hashes[row.first_hash + block - 1]
    entry = _find(m.entry_index, m.hashes, name)
    return m.nodes[entry] if entry >= 0 else _UNKNOWN


@inlined
def _has_room(m, log, settings):
    """There is room for what one block may change on all holdings."""
    most = (m.copies.shape[1] + 1) * settings.max_length
    return max(log.used[0], log.used[1]) + most <= log.keys.size


@inlined
def _store(m, log, row, plan, batch, cursor, counts, settings, tier):
    """Take a span, or as much as there is room for; True when it is done."""
    hashes, tokens, extras = batch
    parent = _before(m, row, cursor[1], hashes)
    is_dense = row.hashes * row.block_tokens == row.tokens > 0
    is_dense &= row.extras == -1 or row.extras == row.hashes
    for i in range(cursor[1], row.hashes):
        cursor[1] = i
        if not _has_room(m, log, settings):
            return False
        name = hashes[row.first_hash + i]
        entry = _find(m.entry_index, m.hashes, name)
        node = np.int64(m.nodes[entry]) if entry >= 0 else _UNKNOWN
        if node == _UNKNOWN and is_dense and parent != _UNKNOWN:
            node = _chain(m, row, plan, i, parent, tokens, extras, settings.unit)
        parent = node
        length = plan.length
        if length < 0:
            if node == _UNKNOWN:
                counts[PARTIAL] += 1
                continue
            length = m.positions[node] % -length + 1
        if entry < 0:
            entry = _new_entry(m, name)
        if node == _UNKNOWN:
            counts[ORPHAN] += 1
        elif m.nodes[entry] == _UNKNOWN:
            _resolve(m, log, entry, node)
        _add_copy(m, log, plan.holding, entry, length, settings.counts_copies and tier != _STORAGE)
    return True


@inlined
def _remove(m, log, row, h, hashes, cursor, counts, settings):
    """Take a removal, or as much as there is room for; True when it is done."""
    for i in range(cursor[1], row.hashes):
        cursor[1] = i
        if not _has_room(m, log, settings):
            return False
        entry = -1
        if h >= 0:
            entry = _find(m.entry_index, m.hashes, hashes[row.first_hash + i])
        if entry < 0 or m.copies[entry, h] == 0:
            counts[UNKNOWN_REMOVAL] += 1
            continue
        m.copies[entry, h] -= 1
        if m.copies[entry, h] == 0:
            _release(m, log, h, entry)
    return True


@inlined
def _plan(row, plan, tier, tables):
    """What a stored span needs, where the tables tell it; ASK where they do not."""
    if plan.state != ASK:
        return plan.state
    if row.group >= tables.groups.shape[0] or row.lora_at != 0 or row.extras_at != 0:
        return ASK
    group = tables.groups[row.group]
    is_chunk = row.block_tokens == 0 and row.tokens == 0
    plan.holding = tables.holdings[tier, row.group]
    if plan.holding < 0 or group[0] == 0 or not (is_chunk or row.block_tokens == group[0]):
        return ASK
    plan.length = group[2] if is_chunk else group[1]
    plan.seed = tables.seed[0]
    return PLANNED


@inlined
def _is_full(m, tier, tables, added, settings):
    for group in range(tables.holdings.shape[1]):
        if tables.holdings[tier, group] >= 0:
            added += m.held[tables.holdings[tier, group], _BLOCKS]
    return added > settings.max_blocks


@kernel
def apply(m, log, rows, plans, batch, tables, cursor, counts, settings):
    """Work from event `cursor[0]`, block `cursor[1]` of it, on; returns why it stops."""
    for i in range(cursor[0], rows.size):
        cursor[0] = i
        row = rows[i]
        if row.kind > _REMOVED:
            return CLEARS
        tier = tables.tiers[row.medium + 1]
        counts[HOST_USED] |= tier == _HOST
        if tier == 0:
            counts[MEDIUM] += 1
        elif row.kind == _REMOVED:
            h = tables.holdings[tier, min(row.group, tables.holdings.shape[1] - 1)]
            if not _remove(m, log, row, h, batch[0], cursor, counts, settings):
                return NEEDS_ROOM
        elif row.hashes:
            state = _plan(row, plans[i], tier, tables)
            if state == ASK:
                return NEEDS_PLAN
            is_new = cursor[1] == 0 and state == PLANNED
            if is_new and _is_full(m, tier, tables, row.hashes, settings):
                counts[STORAGE_FULL if tier == _STORAGE else FULL] += row.hashes
            elif state == PLANNED and not _store(
                m, log, row, plans[i], batch, cursor, counts, settings, tier
            ):
                return NEEDS_ROOM
        cursor[1] = 0
    cursor[0] = rows.size
    return DONE


@kernel
def clear(m, holdings):
    """Drop everything from some holdings, given by a flag for each; the log is not told."""
    for h in range(holdings.size):
        if holdings[h]:
            m.held[h] = 0
            m.refs[: m.totals[_NODES], h] = 0
    for entry in range(m.totals[_ENTRIES]):
        had = False
        for h in range(holdings.size):
            if holdings[h] and m.copies[entry, h] != 0:
                m.copies[entry, h] = 0
                had = True
        if had:
            _drop_if_unheld(m, entry)
