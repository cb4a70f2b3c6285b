"""Kernels that say what one more request costs an engine, from its true state.

The cost is over the request itself and all others: its own time to first token and to the end, how
much later the requests that run and wait there will be, and the prefill of what it evicts.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import numpy as np
from numba import njit

from sim.engine.layout import LOADING, NONE
from sim.engine.pool import lookup


@njit(cache=True, nogil=True)
def _hits(state, pool, keys, start, limit):
    """Blocks from `start` on that a pool has without a hole."""
    if pool == NONE:
        return 0
    count = state.pools[pool].keys_per_block
    index_keys, entries = state.index_keys[pool], state.entries[pool]
    block = start
    while block < limit and lookup(index_keys, entries, keys[block * count + count - 1]) != NONE:
        block += 1
    return block - start


@njit(cache=True, nogil=True)
def _prefill_s(engine, new, context):
    """Time that the prefill of `new` tokens behind `context` takes."""
    chunks = np.ceil(new / engine.max_batched_tokens)
    attended = new * (context + 0.5 * new)
    return chunks * engine.base_s + new * engine.prefill_s + attended * engine.attention_s


@njit(cache=True, nogil=True)
def _backlog(state, e, output_tokens):
    """What is there already: (prefill time, context tokens, requests, steps that they share with a
    request of so many output tokens, blocks that the waiting ones will want).
    """
    engine = state.engines[e]
    ahead_s, context, shared, wanted = 0.0, 0, 0, 0.0
    for i in range(engine.running):
        request = state.requests[state.running[e, i]]
        total = request.prompt_tokens + request.generated
        if request.computed < request.prompt_tokens:
            ahead_s += _prefill_s(engine, total - request.computed, request.computed)
        context += total
        shared += min(request.output_tokens - request.generated, output_tokens)
    slot = engine.waiting_head
    while slot != NONE:
        request = state.requests[slot]
        if request.state != LOADING:
            keys = state.arena_keys[request.at : request.at + request.prompt_tokens // 16]
            hits = _hits(state, e, keys, 0, (request.prompt_tokens - 1) // engine.block_tokens)
            known = hits * engine.block_tokens
            ahead_s += _prefill_s(engine, request.prompt_tokens - known, known)
        wanted += (request.prompt_tokens + request.output_tokens) / engine.block_tokens
        slot = request.next
    return ahead_s, context, engine.running + engine.waiting, shared, wanted


@njit(cache=True, nogil=True)
def cost_s(state, e, keys, prompt_tokens, output_tokens, now_s, reuse):
    """(cost, time to first token, cached tokens) of one more request on an engine.

    :param reuse: probability that an evicted block is wanted again.
    """
    engine, pool = state.engines[e], state.pools[e]
    limit = (prompt_tokens - 1) // engine.block_tokens
    device = _hits(state, e, keys, 0, limit)
    host = _hits(state, engine.host_pool, keys, device, limit)
    stored = _hits(state, engine.storage_pool, keys, device + host, limit)
    cached = (device + host + stored) * engine.block_tokens
    own_s = _prefill_s(engine, prompt_tokens - cached, cached)
    load_s = host * engine.block_tokens * engine.host_s_per_token
    load_s += stored * engine.block_tokens * state.storage[1]
    ahead_s, context, harmed, shared, wanted = _backlog(state, e, output_tokens)
    new_blocks = (prompt_tokens + output_tokens) / engine.block_tokens - device
    half_s = engine.context_s * (prompt_tokens + output_tokens / 2)
    step_s = engine.base_s + (engine.running + 1) * engine.sequence_s
    step_s += context * engine.context_s + half_s
    room_s = _room_s(state, e, new_blocks + wanted - pool.free, step_s)
    # A hung engine begins nothing before it wakes; the end of a step counts its slowness already.
    free_s = state.next_s[e] if engine.in_step else engine.hung_until_s
    wait_s = max(ahead_s, room_s) * engine.slowness + max(free_s - now_s, 0.0)
    ttft_s = wait_s + load_s + own_s * engine.slowness
    evicted = max(new_blocks - (pool.size - pool.hashed), 0.0) * engine.block_tokens
    again_s = reuse * _prefill_s(engine, evicted, 0.0)
    harm_s = (own_s + again_s) * harmed + again_s + shared * (engine.sequence_s + half_s)
    total_s = ttft_s + (output_tokens * step_s + harm_s) * engine.slowness
    return total_s, ttft_s, cached


@njit(cache=True, nogil=True)
def _room_s(state, e, missing_blocks, step_s):
    """Time until requests that end have given back so many blocks."""
    engine = state.engines[e]
    if missing_blocks <= 0 or engine.running == 0:
        return 0.0
    left = np.empty(engine.running)
    private = np.empty(engine.running)
    for i in range(engine.running):
        request = state.requests[state.running[e, i]]
        left[i] = request.output_tokens - request.generated
        private[i] = max(request.blocks - request.cached_tokens / engine.block_tokens, 1.0)
    given = 0.0
    order = np.argsort(left)
    for i in order:
        given += private[i]
        if given >= missing_blocks:
            return left[i] * step_s
    return left[order[-1]] * step_s * missing_blocks / given
