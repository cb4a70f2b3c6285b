"""The upper bound: a router that sees every engine as it is and knows how long answers will be.

It sends a request where it costs the least, over itself and all others: its own time to first token
and to the end, how much later the requests that run and wait there will be, and the prefill of what
it evicts, as likely to be wanted again as prompts have been found in caches so far. It still decides
one request at a time and does not know which come next, so a policy can beat it by a few percent.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import numpy as np
from numba import njit

from farsight.pb.router_pb2 import ReportEvent
from sim.deciding import Ask, Verdict
from sim.engine.engines import Engines
from sim.engine.layout import LOADING, NONE
from sim.engine.pool import lookup
from sim.pods import Pods


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
def _cost_s(state, e, keys, prompt_tokens, output_tokens, now_s, reuse):
    """(cost, time to first token, cached tokens) of one more request on an engine.

    :param reuse: probability that an evicted block is wanted again.
    """
    engine = state.engines[e]
    limit = (prompt_tokens - 1) // engine.block_tokens
    device = _hits(state, e, keys, 0, limit)
    host = _hits(state, engine.host_pool, keys, device, limit)
    stored = _hits(state, engine.storage_pool, keys, device + host, limit)
    cached = (device + host + stored) * engine.block_tokens
    own_s = _prefill_s(engine, prompt_tokens - cached, cached)
    load_s = host * engine.block_tokens * engine.host_s_per_token
    load_s += stored * engine.block_tokens * state.storage[1]
    ahead_s, context, harmed, slowed = 0.0, 0, 0, 0.0
    tokens_s = engine.sequence_s + engine.context_s * (prompt_tokens + output_tokens / 2)
    missing = (prompt_tokens + output_tokens) / engine.block_tokens - device
    missing -= state.pools[e].free
    for i in range(engine.running):
        request = state.requests[state.running[e, i]]
        total = request.prompt_tokens + request.generated
        left = request.output_tokens - request.generated
        if request.computed < request.prompt_tokens:
            ahead_s += _prefill_s(engine, total - request.computed, request.computed)
        context += total
        harmed += 1
        slowed += min(left, output_tokens) * tokens_s
    slot = engine.waiting_head
    while slot != NONE:
        request = state.requests[slot]
        if request.state != LOADING:
            own = state.arena_keys[request.at : request.at + request.prompt_tokens // 16]
            hits = _hits(state, e, own, 0, (request.prompt_tokens - 1) // engine.block_tokens)
            known = hits * engine.block_tokens
            ahead_s += _prefill_s(engine, request.prompt_tokens - known, known)
        missing += (request.prompt_tokens + request.output_tokens) / engine.block_tokens
        harmed += 1
        slot = request.next
    sequences = engine.running + 1
    step_s = engine.base_s + sequences * engine.sequence_s
    step_s += (context + prompt_tokens + output_tokens / 2) * engine.context_s
    room_s = _room_s(state, e, missing, step_s)
    residue_s = max(state.next_s[e] - now_s, 0.0) if engine.in_step else 0.0
    wait_s = (max(ahead_s, room_s) + residue_s) * engine.slowness
    ttft_s = wait_s + load_s + own_s * engine.slowness
    own_total_s = ttft_s + output_tokens * step_s * engine.slowness
    new_blocks = (prompt_tokens + output_tokens) / engine.block_tokens - device
    never_used = state.pools[e].size - state.pools[e].hashed
    evicted = max(new_blocks - never_used, 0.0) * engine.block_tokens
    again_s = reuse * _prefill_s(engine, evicted, 0.0)
    harm_s = (own_s + again_s) * harmed + slowed + again_s
    return own_total_s + harm_s * engine.slowness, ttft_s, cached


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


class Oracle:
    """Decides with the engines' true state."""

    def __init__(self, engines: Engines, pods: Pods) -> None:
        self._engines = engines
        self._pods = pods
        self._prompt_tokens = 1
        self._cached_tokens = 0

    async def decide(self, ask: Ask) -> Verdict | None:
        """The pod of the least cost."""
        alive = [p for p in range(len(self._pods)) if self._engines.is_alive(p)]
        if not alive:
            return None
        now_s, reuse = self._engines.reached_s, self._cached_tokens / self._prompt_tokens
        costs = [
            (
                *_cost_s(
                    self._engines.state,
                    pod,
                    ask.keys,
                    ask.tokens.size,
                    ask.output_tokens,
                    now_s,
                    reuse,
                ),
                pod,
            )
            for pod in alive
        ]
        costs.sort()
        self._prompt_tokens += ask.tokens.size
        self._cached_tokens += int(costs[0][2])
        return Verdict(
            str(ask.number),
            tuple(pod for *_, pod in costs),
            tuple(int(cached) for _, _, cached, _ in costs),
            tuple(ttft_s * 1000 for _, ttft_s, _, _ in costs),
        )

    def report(self, number: int, event: ReportEvent) -> None:
        """It sees for itself."""
