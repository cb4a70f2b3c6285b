"""Kernels that move time: the next engine to do something does it, until the caller has to look."""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import numpy as np
from numba import njit

from sim.engine.admission import blocks_for, finish_on_tiers, queue_last, release_blocks, unqueue
from sim.engine.layout import (
    FREE,
    KV_ROOM,
    LOADING,
    N_EVENTS,
    N_KV,
    NONE,
    RUNNING,
    WAITING,
)
from sim.engine.schedule import begin_step, end_step


@njit(cache=True, nogil=True)
def advance(state, until_s, stops_at_events):
    """Run steps that end by `until_s`.

    Ends early after a step with events (first tokens, ends) when asked to, and when the caller has
    to take KV events or events.

    :returns: (time up to which everything has happened, time of the next step's end, number of
        events, number of KV events).
    """
    while True:
        e = np.argmin(state.next_s)
        time_s = state.next_s[e]
        if time_s > until_s or time_s == np.inf:
            return until_s, time_s, state.counters[N_EVENTS], state.counters[N_KV]
        if state.engines[e].in_step:
            end_step(state, e, time_s)
        begin_step(state, e, time_s)
        events = state.counters[N_EVENTS]
        is_full = state.counters[N_KV] > KV_ROOM or 2 * events > state.events.size
        if is_full or (stops_at_events and events):
            return time_s, state.next_s.min(), events, state.counters[N_KV]


@njit(cache=True, nogil=True)
def submit(state, slot, e, at, prompt_tokens, output_tokens, lora, time_s):
    """Put a request whose keys lie in the arena from `at` on into an engine's queue."""
    request = state.requests[slot]
    request.engine = e
    request.state = WAITING
    request.prompt_tokens = prompt_tokens
    request.output_tokens = output_tokens
    request.generated = 0
    request.computed = 0
    request.scheduled = 0
    request.at = at
    request.blocks = 0
    request.hashed = 0
    request.cached_tokens = NONE
    request.host_tokens = 0
    request.storage_tokens = 0
    request.lora = lora
    request.preemptions = 0
    queue_last(state, e, slot)
    engine = state.engines[e]
    if engine.alive and not engine.in_step:
        state.next_s[e] = min(state.next_s[e], max(time_s, engine.hung_until_s))


@njit(cache=True, nogil=True)
def abort(state, slot):
    """Take a request out of its engine, wherever it stands."""
    request = state.requests[slot]
    e = request.engine
    engine = state.engines[e]
    if request.state == RUNNING:
        kept = 0
        for i in range(engine.running):
            if state.running[e, i] != slot:
                state.running[e, kept] = state.running[e, i]
                kept += 1
        engine.running = kept
    elif request.state == WAITING or request.state == LOADING:
        before, at = NONE, engine.waiting_head
        while at != slot:
            before, at = at, state.requests[at].next
        unqueue(state, e, before, slot)
        engine.loading -= request.state == LOADING
    finish_on_tiers(state, e, request)
    release_blocks(state, e, request)
    request.state = FREE


@njit(cache=True, nogil=True)
def needs_blocks(state, e, tokens):
    """Blocks of engine `e` that so many tokens take."""
    return blocks_for(state.engines[e], tokens)
