"""Kernels of one step: who computes how many tokens, how long it takes, what comes of it.

The order of things is vLLM 0.32's: running requests first, in the order of their admission, each
up to the token budget; the last one is preempted when blocks run out; then waiting requests while
there is budget, room and, with adapters, a free adapter slot. Blocks enter the cache when their
tokens are scheduled, so a later request of the same step already finds them.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import numpy as np
from numba import njit

from sim.engine.admission import (
    admit,
    enter_full_blocks,
    finish_loads,
    finish_on_tiers,
    fits,
    grow,
    preempt_last,
    release_blocks,
    total_tokens,
    unqueue,
)
from sim.engine.layout import (
    DONE,
    FINISHED,
    FIRST_TOKEN,
    ITL_BINS,
    ITL_FIRST_EDGE_S,
    ITL_LAST_EDGE_S,
    LOADING,
    N_EVENTS,
    N_KV,
    NONE,
    RUNNING,
    STEPS,
)

_BINS_PER_LOG = ITL_BINS / np.log(ITL_LAST_EDGE_S / ITL_FIRST_EDGE_S)


@njit(cache=True, nogil=True)
def _schedule_running(state, e, time_s):
    """Tokens for the running requests; returns (budget left, whether one was preempted)."""
    engine, running, requests = state.engines[e], state.running[e], state.requests
    size = engine.block_tokens
    budget = engine.max_batched_tokens
    preempted = False
    i = 0
    while i < engine.running:
        slot = running[i]
        request = requests[slot]
        request.scheduled = 0
        new = min(request.prompt_tokens + request.generated - request.computed, budget)
        after = request.computed + new
        stays = new > 0
        if stays and after > request.blocks * size:
            while stays and not fits(state, e, request, after):
                preempted = True
                stays = preempt_last(state, e) != slot
            if stays:
                grow(state, e, request, after, time_s)
        if stays:
            if after >= (request.hashed + 1) * size:
                enter_full_blocks(state, e, slot, after, time_s)
            request.scheduled = new
            budget -= new
        i += 1
    return budget, preempted


@njit(cache=True, nogil=True)
def _use_adapter(state, e, lora):
    """Make an adapter the most recently used; whether it had to be loaded."""
    resident = state.loras[e]
    last = state.engines[e].max_loras - 1
    at = 0
    while at < last and resident[at] != lora:
        at += 1
    loaded = resident[at] != lora
    for i in range(at, 0, -1):
        resident[i] = resident[i - 1]
    resident[0] = lora
    return loaded


@njit(cache=True, nogil=True)
def _adapters_in_use(state, e, adapters):
    """Write the adapters of the running requests to the front of `adapters`; their number.

    They become the most recently used ones, so that none of them gives way to another.
    """
    count = 0
    for i in range(state.engines[e].running):
        lora = state.requests[state.running[e, i]].lora
        if lora != NONE and lora not in adapters[:count]:
            adapters[count] = lora
            count += 1
            _use_adapter(state, e, lora)
    return count


@njit(cache=True, nogil=True)
def _schedule_waiting(state, e, budget, time_s):
    """Let waiting requests in; returns seconds spent on loading adapters."""
    engine = state.engines[e]
    adapters = np.empty(state.loras.shape[1], np.int64)
    used = _adapters_in_use(state, e, adapters) if engine.max_loras else 0
    extra_s = 0.0
    before, slot = NONE, engine.waiting_head
    while slot != NONE and budget > 0 and engine.running < engine.max_sequences:
        request = state.requests[slot]
        after = request.next
        is_new = engine.max_loras > 0 and request.lora != NONE
        is_new = is_new and request.lora not in adapters[:used]
        if request.state == LOADING or (is_new and used == engine.max_loras):
            before, slot = slot, after
            continue
        if request.computed:  # it has loaded, and holds the blocks of all its tokens
            new = min(budget, total_tokens(request) - request.computed)
        else:
            new = admit(state, e, slot, budget, time_s)
        if new == NONE:
            break
        if new == 0:
            request.state = LOADING
            engine.loading += 1
            before, slot = slot, after
            continue
        unqueue(state, e, before, slot)
        request.state = RUNNING
        request.scheduled = new
        state.running[e, engine.running] = slot
        engine.running += 1
        enter_full_blocks(state, e, slot, request.computed + new, time_s)
        budget -= new
        if is_new:
            adapters[used] = request.lora
            used += 1
            if _use_adapter(state, e, request.lora):
                extra_s += engine.lora_load_s
        slot = after
    return extra_s


@njit(cache=True, nogil=True)
def _step_s(state, e):
    """Duration of the step as scheduled; negative when nothing is."""
    engine, running, requests = state.engines[e], state.running[e], state.requests
    prefill, attention, sequences, context = 0, 0.0, 0, 0
    for i in range(engine.running):
        request = requests[running[i]]
        new = request.scheduled
        if new == 1 and request.computed >= request.prompt_tokens:
            sequences += 1
            context += request.computed + 1
        elif new:
            prefill += new
            attention += new * (request.computed + 0.5 * new)
    if prefill + sequences == 0:
        return -1.0
    step_s = engine.base_s + prefill * engine.prefill_s + attention * engine.attention_s
    return step_s + sequences * engine.sequence_s + context * engine.context_s


@njit(cache=True, nogil=True)
def begin_step(state, e, time_s):
    """Schedule a step and set when it ends; without anything to do the engine sleeps."""
    engine = state.engines[e]
    engine.in_step = 0
    state.next_s[e] = np.inf
    if not engine.alive:
        return
    first_kv = state.counters[N_KV]
    if engine.loading:
        finish_loads(state, e, time_s)
    budget, preempted = _schedule_running(state, e, time_s)
    extra_s = 0.0
    # Whoever gave way as the last one left nothing to run: vLLM's next step comes at once.
    if engine.waiting and (not preempted or engine.running == 0):
        extra_s = _schedule_waiting(state, e, budget, time_s)
    step_s = _step_s(state, e)
    if step_s >= 0.0:
        engine.in_step = 1
        state.next_s[e] = max(time_s + (step_s + extra_s) * engine.slowness, engine.hung_until_s)
        state.counters[STEPS] += 1
        # vLLM publishes what a step changed together with its output.
        for i in range(first_kv, state.counters[N_KV]):
            state.kv_events[i].time_s = state.next_s[e]
    elif engine.loading:
        slot = engine.waiting_head
        while slot != NONE:
            if state.requests[slot].state == LOADING:
                state.next_s[e] = min(state.next_s[e], state.requests[slot].ready_s)
            slot = state.requests[slot].next


@njit(cache=True, nogil=True)
def _emit(state, kind, e, slot, time_s):
    event = state.events[state.counters[N_EVENTS]]
    event.kind = kind
    event.engine = e
    event.request = slot
    event.time_s = time_s
    state.counters[N_EVENTS] += 1


@njit(cache=True, nogil=True)
def _bin(gap_s):
    """Bin of a gap between two output tokens."""
    at = np.int64(np.log(max(gap_s, ITL_FIRST_EDGE_S) / ITL_FIRST_EDGE_S) * _BINS_PER_LOG)
    return min(at, ITL_BINS - 1)


@njit(cache=True, nogil=True)
def end_step(state, e, time_s):
    """Every request whose tokens are all computed gets one more; some are done with it."""
    engine, running, requests = state.engines[e], state.running[e], state.requests
    kept = 0
    gap_s, bin_ = -1.0, 0
    for i in range(engine.running):
        slot = running[i]
        request = requests[slot]
        request.computed += request.scheduled
        is_done = False
        if request.scheduled and request.computed == request.prompt_tokens + request.generated:
            request.generated += 1
            if request.generated == 1:
                _emit(state, FIRST_TOKEN, e, slot, time_s)
            else:
                # Most gaps of a step are equal, and a logarithm costs more than the rest.
                if time_s - request.last_token_s != gap_s:
                    gap_s = time_s - request.last_token_s
                    bin_ = _bin(gap_s)
                state.itl[bin_] += 1
            request.last_token_s = time_s
            is_done = request.generated == request.output_tokens
        request.scheduled = 0
        if is_done:
            if request.lora != NONE and engine.max_loras:
                _use_adapter(state, e, request.lora)
            finish_on_tiers(state, e, request)
            release_blocks(state, e, request)
            request.state = DONE
            _emit(state, FINISHED, e, slot, time_s)
        else:
            running[kept] = slot
            kept += 1
    engine.running = kept
