"""The arrays that hold a fleet of engines; every kernel works on one `State`.

A pool is a set of blocks with an index by key: pool `e` is engine e's device cache, pool `E + e`
its host tier, pool `2E` the shared storage. A block's identity is the last of its canonical keys,
which names the whole prefix up to there.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from farsight.keys import CANONICAL_BLOCK_TOKENS
from sim.engine.spec import EngineSpec, TierSpec

NONE = -1
ITL_FIRST_EDGE_S = 1e-4
ITL_LAST_EDGE_S = 100.0
ITL_BINS = 512

# Request states.
FREE, WAITING, LOADING, RUNNING, DONE = range(5)
# Event kinds.
FIRST_TOKEN, FINISHED = range(2)
# KV actions and tiers: values of proto/events.proto and proto/types.proto.
STORE, REMOVE = 1, 2
DEVICE, HOST, STORAGE = 1, 2, 3
# Counters.
N_EVENTS, N_KV, N_KV_KEYS, STEPS, PREEMPTIONS = range(5)

ENGINE = np.dtype(
    [
        ("block_tokens", "i8"),
        ("keys_per_block", "i8"),
        ("max_batched_tokens", "i8"),
        ("max_sequences", "i8"),
        ("max_loras", "i8"),
        ("base_s", "f8"),
        ("prefill_s", "f8"),
        ("attention_s", "f8"),
        ("sequence_s", "f8"),
        ("context_s", "f8"),
        ("lora_load_s", "f8"),
        ("host_s_per_token", "f8"),
        ("host_latency_s", "f8"),
        ("host_pool", "i8"),  # NONE: no host tier
        ("storage_pool", "i8"),  # NONE: not mounted
        ("slowness", "f8"),  # factor on step times
        ("hung_until_s", "f8"),
        ("alive", "u1"),
        ("in_step", "u1"),
        ("running", "i8"),
        ("waiting", "i8"),
        ("loading", "i8"),
        ("waiting_head", "i8"),
        ("waiting_tail", "i8"),
        ("host_free_s", "f8"),  # when the link to the host is free again
    ]
)
POOL = np.dtype(
    [
        ("free", "i8"),
        ("head", "i8"),
        ("tail", "i8"),
        ("size", "i8"),
        ("keys_per_block", "i8"),
        ("hashed", "i8"),  # blocks that have keys
    ]
)
BLOCK = np.dtype(
    [
        ("refs", "i4"),
        ("prev", "i4"),  # in the list of free blocks
        ("next", "i4"),
        ("twin", "i4"),  # next block of the same key, oldest first
        ("hashed", "u1"),
    ]
)
ENTRY = np.dtype([("count", "i4"), ("block", "i4")])
REQUEST = np.dtype(
    [
        ("engine", "i8"),
        ("state", "i8"),
        ("prompt_tokens", "i8"),
        ("output_tokens", "i8"),  # to generate
        ("generated", "i8"),
        ("computed", "i8"),
        ("scheduled", "i8"),  # tokens in the step that runs
        ("at", "i8"),  # first entry in the arena
        ("blocks", "i8"),  # held
        ("hashed", "i8"),  # of them, entered into the index
        ("cached_tokens", "i8"),  # found at the first admission, all tiers; NONE before it
        ("host_tokens", "i8"),
        ("storage_tokens", "i8"),
        ("ready_s", "f8"),  # end of a load
        ("last_token_s", "f8"),
        ("next", "i8"),  # in the waiting list
        ("lora", "i8"),
        ("preemptions", "i8"),
    ]
)
EVENT = np.dtype([("kind", "i8"), ("engine", "i8"), ("request", "i8"), ("time_s", "f8")])
KV_EVENT = np.dtype(
    [
        ("time_s", "f8"),
        ("engine", "i8"),  # NONE: the shared storage
        ("tier", "i8"),
        ("action", "i8"),
        ("request", "i8"),  # that computed the block; NONE for removals
        ("block", "i8"),  # its position in the request
        ("at", "i8"),  # first key
        ("keys", "i8"),
    ]
)

# KV events that are collected before the caller has to take them.
KV_ROOM = 1 << 14

Array = npt.NDArray[Any]


class State(NamedTuple):
    """Shapes: E engines, P pools, M blocks of the largest pool, K keys a block, R requests."""

    engines: Array  # (E,) ENGINE
    next_s: npt.NDArray[np.float64]  # (E,) when the engine does something next; inf: idle
    running: npt.NDArray[np.int64]  # (E, max sequences) request slots in scheduling order
    loras: npt.NDArray[np.int64]  # (E, adapters) resident, most recently used first
    pools: Array  # (P,) POOL
    blocks: Array  # (P, M) BLOCK
    block_keys: npt.NDArray[np.uint64]  # (P, M, K)
    index_keys: npt.NDArray[np.uint64]  # (P, 2^n) open addressing, 0: empty
    entries: Array  # (P, 2^n) ENTRY
    requests: Array  # (R,) REQUEST
    arena_keys: npt.NDArray[np.uint64]  # canonical keys of the requests
    arena_blocks: npt.NDArray[np.int64]  # blocks they hold
    events: Array  # EVENT
    kv_events: Array  # KV_EVENT
    kv_keys: npt.NDArray[np.uint64]
    kv_changed: npt.NDArray[np.bool_]  # the key came to, or left, the pool as a whole
    counters: npt.NDArray[np.int64]
    storage: npt.NDArray[np.float64]  # [free at s, s per token, latency s]
    itl: npt.NDArray[np.int64]  # (ITL_BINS,) gaps between output tokens, log bins


def storage_block_tokens(specs: Sequence[EngineSpec]) -> int:
    """Block size of the engines that mount the shared storage; of any when none does."""
    return next((s for s in specs if s.mounts_storage), specs[0]).block_tokens


def _pool_sizes(specs: Sequence[EngineSpec], storage: TierSpec | None) -> list[int]:
    host = [s.host.capacity_tokens // s.block_tokens if s.host else 0 for s in specs]
    shared = storage.capacity_tokens // storage_block_tokens(specs) if storage else 0
    return [s.blocks for s in specs] + host + [shared]


def _most_changes(specs: Sequence[EngineSpec], blocks: int) -> int:
    """KV events that one step can make: what it enters and evicts, on three tiers.

    A load that ends enters whole prompts, at most the pool.
    """
    steps = [s.max_batched_tokens // s.block_tokens + s.max_sequences for s in specs]
    loads = blocks if any(s.host or s.mounts_storage for s in specs) else 0
    return 6 * (max(steps) + loads)


def grown(array: Array, size: int) -> Array:
    """A longer copy, zeros behind what was there."""
    longer = np.zeros(size, array.dtype)
    longer[: array.size] = array
    return longer


def make_state(specs: Sequence[EngineSpec], storage: TierSpec | None) -> State:
    """Idle engines with empty caches."""
    sizes = _pool_sizes(specs, storage)
    if not any(sizes[len(specs) :]):
        sizes = sizes[: len(specs)]
    keys = max(s.keys_per_block for s in specs)
    changes = KV_ROOM + _most_changes(specs, max(sizes))
    pools, most = len(sizes), max(sizes)
    capacity = 1 << max(int(most * keys * 2 - 1).bit_length(), 6)
    sequences = max(s.max_sequences for s in specs)
    state = State(
        engines=np.zeros(len(specs), ENGINE),
        next_s=np.full(len(specs), np.inf),
        running=np.full((len(specs), sequences), NONE, np.int64),
        loras=np.full((len(specs), max(1, *(s.max_loras for s in specs), 0)), NONE, np.int64),
        pools=np.zeros(pools, POOL),
        blocks=np.zeros((pools, most), BLOCK),
        block_keys=np.zeros((pools, most, keys), np.uint64),
        index_keys=np.zeros((pools, capacity), np.uint64),
        entries=np.zeros((pools, capacity), ENTRY),
        requests=np.zeros(64, REQUEST),
        arena_keys=np.zeros(1 << 14, np.uint64),
        arena_blocks=np.zeros(1 << 14, np.int64),
        events=np.zeros(max(1 << 12, 4 * sequences), EVENT),
        kv_events=np.zeros(changes, KV_EVENT),
        kv_keys=np.zeros(changes * keys, np.uint64),
        kv_changed=np.zeros(changes * keys, np.bool_),
        counters=np.zeros(8, np.int64),
        storage=np.array(
            [0.0, storage.load_s_per_token, storage.latency_s] if storage else [0.0, 0.0, 0.0]
        ),
        itl=np.zeros(ITL_BINS, np.int64),
    )
    block_tokens = [s.block_tokens for s in specs] * 2 + [storage_block_tokens(specs)]
    for pool, size in enumerate(sizes):
        fill_pool(state, pool, size, block_tokens[pool] // CANONICAL_BLOCK_TOKENS)
    for engine, spec in enumerate(specs):
        _fill_engine(state, engine, spec, bool(storage))
    return state


def fill_pool(state: State, pool: int, size: int, keys_per_block: int) -> None:
    """An empty pool: every block is free, in order of its number."""
    state.index_keys[pool] = 0
    state.entries[pool] = 0
    blocks = state.blocks[pool]
    blocks[:] = 0
    numbers = np.arange(size, dtype=np.int32)
    blocks["prev"][:size] = numbers - 1
    blocks["next"][:size] = numbers + 1
    blocks["twin"] = NONE
    if size:
        blocks["next"][size - 1] = NONE
    head = 0 if size else NONE
    state.pools[pool] = (size, head, size - 1, size, keys_per_block, 0)


def _fill_engine(state: State, engine: int, spec: EngineSpec, has_storage: bool) -> None:
    row = state.engines[engine]
    count = len(state.engines)
    rates = spec.rates
    row["block_tokens"] = spec.block_tokens
    row["keys_per_block"] = spec.block_tokens // CANONICAL_BLOCK_TOKENS
    row["max_batched_tokens"] = spec.max_batched_tokens
    row["max_sequences"] = spec.max_sequences
    row["max_loras"] = spec.max_loras
    row["base_s"] = rates.base_s
    row["prefill_s"] = rates.prefill_s_per_token
    row["attention_s"] = rates.attention_s_per_token_squared
    row["sequence_s"] = rates.decode_s_per_sequence
    row["context_s"] = rates.decode_s_per_context_token
    row["lora_load_s"] = spec.lora_load_s
    row["host_pool"] = count + engine if spec.host else NONE
    if spec.host:
        row["host_s_per_token"] = spec.host.load_s_per_token
        row["host_latency_s"] = spec.host.latency_s
    row["storage_pool"] = 2 * count if has_storage and spec.mounts_storage else NONE
    row["slowness"] = 1.0
    row["hung_until_s"] = -np.inf
    row["alive"] = 1
    row["waiting_head"] = row["waiting_tail"] = NONE
