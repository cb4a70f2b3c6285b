"""Kernels that give blocks to requests: prefix hits, tiers, growth, preemption and release."""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from numba import njit

from sim.engine.layout import (
    DEVICE,
    HOST,
    LOADING,
    NONE,
    PREEMPTIONS,
    STORAGE,
    WAITING,
)
from sim.engine.pool import append, enter, lookup, prepend, take, unlink, write_through


@njit(cache=True, nogil=True)
def total_tokens(request):
    """Prompt and what has been generated of the answer."""
    return request.prompt_tokens + request.generated


@njit(cache=True, nogil=True)
def reusable_blocks(engine, request):
    """Whole blocks that a hit can have at most: the last token is always computed."""
    return (total_tokens(request) - 1) // engine.block_tokens


@njit(cache=True, nogil=True)
def prefix_blocks(state, pool, request, start, limit):
    """How many blocks from `start` on, of `limit` in all, the pool has without a hole."""
    keys, index = state.index_keys[pool], state.entries[pool]
    count = state.pools[pool].keys_per_block
    at = request.at + count - 1
    block = start
    while block < limit and lookup(keys, index, state.arena_keys[at + block * count]) != NONE:
        block += 1
    return block - start


@njit(cache=True, nogil=True)
def _free_hits(state, pool, request, hits):
    """Note the hit blocks with the request; how many of them are free until it holds them."""
    keys, index, blocks = state.index_keys[pool], state.entries[pool], state.blocks[pool]
    count = state.pools[pool].keys_per_block
    at = request.at + count - 1
    free = 0
    for i in range(hits):
        block = lookup(keys, index, state.arena_keys[at + i * count])
        state.arena_blocks[request.at + i] = block
        free += blocks[block].refs == 0
    return free


@njit(cache=True, nogil=True)
def _hold_hits(state, pool, request, hits):
    """Hold the blocks that `_free_hits` noted."""
    blocks, head = state.blocks[pool], state.pools[pool]
    for i in range(hits):
        block = state.arena_blocks[request.at + i]
        if blocks[block].refs == 0:
            unlink(blocks, head, block)
        blocks[block].refs += 1
    request.blocks = hits
    request.hashed = hits


@njit(cache=True, nogil=True)
def blocks_for(engine, tokens):
    """Blocks that so many tokens take."""
    return (tokens + engine.block_tokens - 1) // engine.block_tokens


@njit(cache=True, nogil=True)
def fits(state, e, request, tokens):
    """The request can hold so many tokens without anybody giving way."""
    return blocks_for(state.engines[e], tokens) - request.blocks <= state.pools[e].free


@njit(cache=True, nogil=True)
def grow(state, e, request, tokens, time_s):
    """Hold blocks for so many tokens; there are enough free ones."""
    wanted = blocks_for(state.engines[e], tokens)
    while request.blocks < wanted:
        block = take(state, e, time_s, e, DEVICE)
        state.blocks[e, block].refs = 1
        state.arena_blocks[request.at + request.blocks] = block
        request.blocks += 1


@njit(cache=True, nogil=True)
def enter_full_blocks(state, e, slot, tokens, time_s):
    """Enter the blocks that so many tokens fill, on the device and through the tiers below."""
    engine, request = state.engines[e], state.requests[slot]
    full = min(tokens, total_tokens(request)) // engine.block_tokens
    while request.hashed < full:
        i = request.hashed
        at = request.at + i * engine.keys_per_block
        enter(state, e, state.arena_blocks[request.at + i], at, time_s, e, DEVICE, slot, i)
        if engine.host_pool != NONE:
            write_through(state, engine.host_pool, at, time_s, e, HOST, slot, i)
        if engine.storage_pool != NONE:
            write_through(state, engine.storage_pool, at, time_s, NONE, STORAGE, slot, i)
        request.hashed += 1


@njit(cache=True, nogil=True)
def _make_youngest(state, pool, request):
    """A tier evicts the blocks of a sequence after all others, and its tail before its head."""
    blocks, head = state.blocks[pool], state.pools[pool]
    keys, index, count = state.index_keys[pool], state.entries[pool], head.keys_per_block
    for i in range(request.hashed, 0, -1):
        block = lookup(keys, index, state.arena_keys[request.at + i * count - 1])
        if block != NONE:
            unlink(blocks, head, block)
            append(blocks, head, block)


@njit(cache=True, nogil=True)
def finish_on_tiers(state, e, request):
    """The end of a request is a use of its blocks on every tier (vLLM's LRUCachePolicy)."""
    engine = state.engines[e]
    if engine.host_pool != NONE:
        _make_youngest(state, engine.host_pool, request)
    if engine.storage_pool != NONE:
        _make_youngest(state, engine.storage_pool, request)


@njit(cache=True, nogil=True)
def release_blocks(state, e, request):
    """Give back all blocks; the tail of the prefix is evicted before its head."""
    blocks, head = state.blocks[e], state.pools[e]
    for i in range(request.blocks):
        block = state.arena_blocks[request.at + i]
        blocks[block].refs -= 1
        if blocks[block].refs == 0 and not blocks[block].hashed:
            prepend(blocks, head, block)
    for i in range(request.blocks - 1, -1, -1):
        block = state.arena_blocks[request.at + i]
        if blocks[block].refs == 0 and blocks[block].hashed:
            append(blocks, head, block)
    request.blocks = 0
    request.hashed = 0


@njit(cache=True, nogil=True)
def preempt_last(state, e):
    """The running request that was scheduled last begins anew, first in the queue."""
    engine = state.engines[e]
    engine.running -= 1
    slot = state.running[e, engine.running]
    request = state.requests[slot]
    release_blocks(state, e, request)
    request.computed = 0
    request.scheduled = 0
    request.state = WAITING
    request.preemptions += 1
    state.counters[PREEMPTIONS] += 1
    queue_first(state, e, slot)
    return slot


@njit(cache=True, nogil=True)
def queue_first(state, e, slot):
    """Put a request before all that wait, but behind those that have loaded their prefix.

    These hold blocks, which a request that gave way for want of blocks may need.
    """
    engine, requests = state.engines[e], state.requests
    before, after = NONE, engine.waiting_head
    while after != NONE and requests[after].state == WAITING and requests[after].computed:
        before, after = after, requests[after].next
    requests[slot].next = after
    if before == NONE:
        engine.waiting_head = slot
    else:
        requests[before].next = slot
    if after == NONE:
        engine.waiting_tail = slot
    engine.waiting += 1


@njit(cache=True, nogil=True)
def queue_last(state, e, slot):
    """Put a request behind all that wait."""
    engine = state.engines[e]
    state.requests[slot].next = NONE
    if engine.waiting_tail == NONE:
        engine.waiting_head = slot
    else:
        state.requests[engine.waiting_tail].next = slot
    engine.waiting_tail = slot
    engine.waiting += 1


@njit(cache=True, nogil=True)
def unqueue(state, e, before, slot):
    """Take a request out of the queue; `before` is the one in front of it, or NONE."""
    engine, after = state.engines[e], state.requests[slot].next
    if before == NONE:
        engine.waiting_head = after
    else:
        state.requests[before].next = after
    if after == NONE:
        engine.waiting_tail = before
    engine.waiting -= 1


@njit(cache=True, nogil=True)
def admit(state, e, slot, budget, time_s):
    """Give a waiting request its first blocks: tokens that it computes in this step.

    NONE when there is no room, 0 when its prefix has to be loaded from a tier first. A request is
    let in only when its whole prompt fits (vLLM's scheduler_reserve_full_isl). One that loads holds
    all of that, so it can go on when it has loaded, whatever the others do.
    """
    engine, request = state.engines[e], state.requests[slot]
    limit = reusable_blocks(engine, request)
    hits = prefix_blocks(state, e, request, 0, limit)
    host, stored = 0, 0
    if engine.host_pool != NONE:
        host = prefix_blocks(state, engine.host_pool, request, hits, limit)
    if engine.storage_pool != NONE:
        stored = prefix_blocks(state, engine.storage_pool, request, hits + host, limit)
    size = engine.block_tokens
    whole = blocks_for(engine, total_tokens(request))
    needed = whole - hits + _free_hits(state, e, request, hits)
    if needed > state.pools[e].free:
        return NONE
    _hold_hits(state, e, request, hits)
    if request.cached_tokens == NONE:
        request.cached_tokens = (hits + host + stored) * size
        request.host_tokens = host * size
        request.storage_tokens = stored * size
    request.computed = hits * size
    if host + stored:
        request.computed += (host + stored) * size
        grow(state, e, request, total_tokens(request), time_s)
        request.ready_s = _load(state, e, host * size, stored * size, time_s)
        return 0
    new = min(budget, total_tokens(request) - request.computed)
    grow(state, e, request, request.computed + new, time_s)
    return new


@njit(cache=True, nogil=True)
def _load(state, e, host_tokens, storage_tokens, time_s):
    """When loads from the tiers are done; each link serves one load after the other."""
    engine = state.engines[e]
    done_s = time_s
    if host_tokens:
        begin_s = max(time_s, engine.host_free_s)
        engine.host_free_s = begin_s + host_tokens * engine.host_s_per_token
        done_s = engine.host_free_s + engine.host_latency_s
    if storage_tokens:
        begin_s = max(time_s, state.storage[0])
        state.storage[0] = begin_s + storage_tokens * state.storage[1]
        done_s = max(done_s, state.storage[0] + state.storage[2])
    return done_s


@njit(cache=True, nogil=True)
def finish_loads(state, e, time_s):
    """Requests whose load is done wait in front of the others; their blocks are in the cache."""
    slot, before = state.engines[e].waiting_head, NONE
    while slot != NONE:
        request = state.requests[slot]
        after = request.next
        if request.state == LOADING and request.ready_s <= time_s:
            unqueue(state, e, before, slot)
            enter_full_blocks(state, e, slot, request.computed, time_s)
            request.state = WAITING
            state.engines[e].loading -= 1
            queue_first(state, e, slot)
            if before == NONE or state.requests[before].next == slot:
                before = slot
        else:
            before = slot
        slot = after
