"""Kernels of one block pool: an index by key, and a list of free blocks in eviction order.

A block that is free keeps its keys until it is taken: that is the prefix cache. Blocks that
have no keys are taken first, then those that were freed the longest ago (vLLM's BlockPool). A
device block is free while no request holds it; the blocks of a tier are always free.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import numpy as np
from numba import njit

from sim.engine.layout import N_KV, N_KV_KEYS, NONE, REMOVE, STORE

_ZERO = np.uint64(0)
_ONE = np.uint64(1)


@njit(cache=True, nogil=True)
def _find(keys, key):
    """Slot of the key, or the empty one where it belongs."""
    last = np.uint64(keys.size - 1)
    at = key & last
    while keys[at] != _ZERO and keys[at] != key:
        at = (at + _ONE) & last
    return np.int64(at)


@njit(cache=True, nogil=True)
def _delete(state, pool, hole):
    """Empty a slot and move later members of its probe run back."""
    keys, index = state.index_keys[pool], state.entries[pool]
    last = np.uint64(keys.size - 1)
    at = np.uint64(hole)
    nxt = (at + _ONE) & last
    while keys[nxt] != _ZERO:
        home = keys[nxt] & last
        if ((nxt - home) & last) >= ((nxt - at) & last):
            keys[at] = keys[nxt]
            index[at].count = index[nxt].count
            index[at].block = index[nxt].block
            at = nxt
        nxt = (nxt + _ONE) & last
    keys[at] = _ZERO
    index[at].count = 0


@njit(cache=True, nogil=True)
def lookup(keys, index, key):
    """The oldest block of a pool whose last key this is; NONE when there is none."""
    slot = _find(keys, key)
    if keys[slot] == _ZERO:
        return NONE
    return np.int64(index[slot].block)


@njit(cache=True, nogil=True)
def unlink(blocks, head, block):
    """Take a block out of the list of free blocks."""
    before, after = blocks[block].prev, blocks[block].next
    if before == NONE:
        head.head = after
    else:
        blocks[before].next = after
    if after == NONE:
        head.tail = before
    else:
        blocks[after].prev = before
    head.free -= 1


@njit(cache=True, nogil=True)
def append(blocks, head, block):
    """Free a block: it is taken after all others."""
    blocks[block].prev = head.tail
    blocks[block].next = NONE
    if head.tail == NONE:
        head.head = block
    else:
        blocks[head.tail].next = block
    head.tail = block
    head.free += 1


@njit(cache=True, nogil=True)
def prepend(blocks, head, block):
    """Free a block: it is taken next."""
    blocks[block].prev = NONE
    blocks[block].next = head.head
    if head.head == NONE:
        head.tail = block
    else:
        blocks[head.head].prev = block
    head.head = block
    head.free += 1


@njit(cache=True, nogil=True)
def _announce(state, time_s, engine, tier, action, request, position, count):
    """A KV event for keys that were put behind N_KV_KEYS already."""
    event = state.kv_events[state.counters[N_KV]]
    event.time_s = time_s
    event.engine = engine
    event.tier = tier
    event.action = action
    event.request = request
    event.block = position
    event.at = state.counters[N_KV_KEYS]
    event.keys = count
    state.counters[N_KV] += 1
    state.counters[N_KV_KEYS] += count


@njit(cache=True, nogil=True)
def enter(state, pool, block, at, time_s, engine, tier, request, position):
    """Give a block the canonical keys that lie in the arena from `at` on, and announce it."""
    count = state.pools[pool].keys_per_block
    keys, index = state.index_keys[pool], state.entries[pool]
    out = state.counters[N_KV_KEYS]
    for i in range(count):
        key = state.arena_keys[at + i]
        state.block_keys[pool, block, i] = key
        slot = _find(keys, key)
        if keys[slot] == _ZERO:
            keys[slot] = key
            index[slot].count = 0
            index[slot].block = NONE
        index[slot].count += 1
        state.kv_keys[out + i] = key
        state.kv_changed[out + i] = index[slot].count == 1
        if i == count - 1:
            _chain_twin(state, pool, slot, block)
    state.blocks[pool, block].hashed = 1
    state.pools[pool].hashed += 1
    _announce(state, time_s, engine, tier, STORE, request, position, count)


@njit(cache=True, nogil=True)
def _chain_twin(state, pool, slot, block):
    """Another block of the same key goes behind the ones before it."""
    state.blocks[pool, block].twin = NONE
    at = state.entries[pool, slot].block
    if at == NONE:
        state.entries[pool, slot].block = block
        return
    while state.blocks[pool, at].twin != NONE:
        at = state.blocks[pool, at].twin
    state.blocks[pool, at].twin = block


@njit(cache=True, nogil=True)
def _unchain_twin(state, pool, slot, block):
    after = state.blocks[pool, block].twin
    at = state.entries[pool, slot].block
    if at == block:
        state.entries[pool, slot].block = after
        return
    while state.blocks[pool, at].twin != block:
        at = state.blocks[pool, at].twin
    state.blocks[pool, at].twin = after


@njit(cache=True, nogil=True)
def leave(state, pool, block, time_s, engine, tier):
    """Take a block's keys from it, and announce that."""
    count = state.pools[pool].keys_per_block
    keys = state.index_keys[pool]
    out = state.counters[N_KV_KEYS]
    for i in range(count):
        key = state.block_keys[pool, block, i]
        slot = _find(keys, key)
        if i == count - 1:
            _unchain_twin(state, pool, slot, block)
        state.entries[pool, slot].count -= 1
        state.kv_keys[out + i] = key
        state.kv_changed[out + i] = state.entries[pool, slot].count == 0
        if state.entries[pool, slot].count == 0:
            _delete(state, pool, slot)
    state.blocks[pool, block].hashed = 0
    state.pools[pool].hashed -= 1
    _announce(state, time_s, engine, tier, REMOVE, NONE, NONE, count)


@njit(cache=True, nogil=True)
def take(state, pool, time_s, engine, tier):
    """The free block that is evicted first; there is one."""
    blocks, head = state.blocks[pool], state.pools[pool]
    block = head.head
    unlink(blocks, head, block)
    if blocks[block].hashed:
        leave(state, pool, block, time_s, engine, tier)
    return block


@njit(cache=True, nogil=True)
def write_through(state, pool, at, time_s, engine, tier, request, position):
    """Have a block on a tier: a new one, or the one that is there becomes the youngest."""
    blocks, head = state.blocks[pool], state.pools[pool]
    key = state.arena_keys[at + head.keys_per_block - 1]
    block = lookup(state.index_keys[pool], state.entries[pool], key)
    if block != NONE:
        unlink(blocks, head, block)
    else:
        block = take(state, pool, time_s, engine, tier)
        enter(state, pool, block, at, time_s, engine, tier, request, position)
    append(blocks, head, block)
