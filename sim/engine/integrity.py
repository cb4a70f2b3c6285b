"""What holds of engines whenever time stands still; for tests, and for a simulator that is idle."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from farsight.keys import CANONICAL_BLOCK_TOKENS
from sim.engine.engines import Engines
from sim.engine.layout import DONE, LOADING, NONE, RUNNING, WAITING, State


def check_integrity(engines: Engines) -> None:
    """Blocks, index, queues and requests agree with each other.

    :raises AssertionError: with the pool, engine or request and what is wrong with it.
    """
    state = engines.state
    slots = engines.in_flight
    _check_arena(state, slots)
    for pool in range(state.pools.size):
        held = [s for s in slots if state.requests[s]["engine"] == pool]
        _check_blocks(state, pool, [block for slot in held for block in _blocks_of(state, slot)])
        _check_index(state, pool)
    for e in range(len(engines)):
        _check_engine(state, e, slots)
    for slot in slots:
        _check_request(state, slot)


def _blocks_of(state: State, slot: int) -> list[int]:
    row = state.requests[slot]
    blocks: list[int] = state.arena_blocks[row["at"] : row["at"] + row["blocks"]].tolist()
    assert len(set(blocks)) == len(blocks), f"request {slot} holds a block twice: {blocks}"
    return blocks


def _keys_of(state: State, slot: int) -> int:
    row = state.requests[slot]
    return int(row["prompt_tokens"] + row["output_tokens"]) // CANONICAL_BLOCK_TOKENS


def _check_arena(state: State, slots: Sequence[int]) -> None:
    ends_at = 0
    for at, slot in sorted((int(state.requests[slot]["at"]), slot) for slot in slots):
        assert at >= ends_at, f"request {slot} begins at {at}, in the range of another"
        ends_at = at + _keys_of(state, slot) + 1
    size = min(state.arena_keys.size, state.arena_blocks.size)
    assert ends_at <= size, f"the last request ends at {ends_at}, the arena at {size}"


def _free_list(state: State, pool: int) -> list[int]:
    """Free blocks in the order of eviction; they are linked in both directions."""
    head, blocks = state.pools[pool], state.blocks[pool]
    before, after = blocks["prev"].tolist(), blocks["next"].tolist()
    free, order = int(head["free"]), list[int]()
    at, last = int(head["head"]), NONE
    while at != NONE:
        assert len(order) < free, f"pool {pool}: more blocks in the free list than {free}"
        assert before[at] == last, f"pool {pool}: before block {at} is {last}, not {before[at]}"
        order.append(at)
        at, last = after[at], at
    assert len(order) == free, f"pool {pool}: {len(order)} blocks in the free list, not {free}"
    assert last == head["tail"], f"pool {pool}: the free list ends at {last}, not {head['tail']}"
    return order


def _check_blocks(state: State, pool: int, held: Sequence[int]) -> None:
    """Every block is either free or held, by as many requests as it counts."""
    size = int(state.pools[pool]["size"])
    refs: list[int] = state.blocks[pool]["refs"][:size].tolist()
    holders = Counter(held)
    for block, count in enumerate(refs):
        assert count == holders[block], (
            f"pool {pool}: block {block} counts {count} holders, not {holders[block]}"
        )
    order = _free_list(state, pool)
    lost = set(range(size)) - set(order) - set(holders)
    assert not lost, f"pool {pool}: neither free nor held: {sorted(lost)}"
    assert len(order) + len(holders) == size, f"pool {pool}: held blocks are in the free list"
    hashed = state.blocks[pool]["hashed"][order].tolist()
    assert hashed == sorted(hashed), f"pool {pool}: a cached block goes before an empty one"


def _check_index(state: State, pool: int) -> None:
    """The index has the keys of the blocks, counted, and nothing else."""
    row = state.pools[pool]
    hashed = np.flatnonzero(state.blocks[pool]["hashed"][: int(row["size"])])
    assert hashed.size == row["hashed"], (
        f"pool {pool}: {hashed.size} cached blocks, not {row['hashed']}"
    )
    keys = state.block_keys[pool, hashed, : int(row["keys_per_block"])]
    unique, counts = np.unique(keys, return_counts=True)
    slots = np.flatnonzero(state.index_keys[pool])
    slots = slots[np.argsort(state.index_keys[pool][slots])]
    assert np.array_equal(state.index_keys[pool][slots], unique), (
        f"pool {pool}: the index has {slots.size} keys, the blocks {unique.size}"
    )
    wrong = unique[state.entries[pool]["count"][slots] != counts].tolist()
    assert not wrong, f"pool {pool}: wrong number of copies of {wrong}"
    _check_probing(state, pool)
    copies: dict[int, set[int]] = {}
    for block, key in zip(hashed.tolist(), keys[:, -1].tolist(), strict=True):
        copies.setdefault(key, set()).add(block)
    for key, first in zip(unique.tolist(), state.entries[pool]["block"][slots], strict=True):
        found = _twins(state, pool, int(first), hashed.size)
        assert found == copies.get(key, set()), (
            f"pool {pool}: blocks of key {key} are {copies.get(key)}, the index says {found}"
        )


def _check_probing(state: State, pool: int) -> None:
    """No empty slot lies between a key and where its search begins."""
    table = state.index_keys[pool]
    is_empty = table == 0
    slots = np.flatnonzero(~is_empty)
    homes = (table[slots] & np.uint64(table.size - 1)).astype(np.int64)
    empty_to = np.cumsum(is_empty)
    between = empty_to[slots] - empty_to[homes] + is_empty[homes]
    between += np.where(homes > slots, empty_to[-1], 0)
    lost = table[slots[between > 0]].tolist()
    assert not lost, f"pool {pool}: keys that no search finds: {lost}"


def _twins(state: State, pool: int, first: int, most: int) -> set[int]:
    found: list[int] = []
    while first != NONE:
        assert len(found) < most, f"pool {pool}: the copies of block {found[0]} go in a circle"
        found.append(first)
        first = int(state.blocks[pool, first]["twin"])
    return set(found)


def _check_engine(state: State, e: int, slots: Sequence[int]) -> None:
    """Every request is where its state says; nobody waits in an engine that sleeps."""
    row = state.engines[e]
    running = state.running[e, : int(row["running"])].tolist()
    waiting = _queue(state, e)
    states = {slot: int(state.requests[slot]["state"]) for slot in slots}
    mine = [slot for slot in slots if state.requests[slot]["engine"] == e]
    assert sorted(running) == sorted(s for s in mine if states[s] == RUNNING), (
        f"engine {e}: runs {running}, which are not the requests that say so"
    )
    assert sorted(waiting) == sorted(s for s in mine if states[s] in (WAITING, LOADING)), (
        f"engine {e}: {waiting} wait, which are not the requests that say so"
    )
    loading = sum(states[slot] == LOADING for slot in waiting)
    assert loading == row["loading"], f"engine {e}: {loading} load, not {row['loading']}"
    assert len(running) <= row["max_sequences"], f"engine {e}: runs {len(running)} sequences"
    is_awake = np.isfinite(state.next_s[e]) or np.isposinf(row["hung_until_s"])
    assert is_awake or not row["alive"] or not running + waiting, (
        f"engine {e}: sleeps while {running} run and {waiting} wait"
    )


def _queue(state: State, e: int) -> list[int]:
    row = state.engines[e]
    slots: list[int] = []
    at, last = int(row["waiting_head"]), NONE
    while at != NONE:
        assert len(slots) < row["waiting"], f"engine {e}: more wait than {row['waiting']}"
        slots.append(at)
        at, last = int(state.requests[at]["next"]), at
    assert len(slots) == row["waiting"], f"engine {e}: {len(slots)} wait, not {row['waiting']}"
    assert last == row["waiting_tail"], f"engine {e}: the queue ends at {last}, not its tail"
    return slots


def _check_request(state: State, slot: int) -> None:
    """It holds the blocks of its tokens, the first of them with its own keys."""
    row = state.requests[slot]
    engine = state.engines[row["engine"]]
    size = int(engine["block_tokens"])
    tokens = int(row["prompt_tokens"] + row["generated"])
    reached = int(row["computed"] + row["scheduled"])
    blocks, hashed = int(row["blocks"]), int(row["hashed"])
    if row["state"] == DONE:
        assert row["generated"] == row["output_tokens"], f"request {slot} ended too early"
        assert row["computed"] == tokens - 1, f"request {slot} ended with tokens not computed"
        assert blocks == 0, f"request {slot} ended and holds {blocks} blocks"
    elif row["state"] == RUNNING:
        assert row["computed"] < tokens, f"request {slot} runs without a token to compute"
        assert row["generated"] < row["output_tokens"], f"request {slot} generates too much"
        assert hashed == reached // size, f"request {slot}: {hashed} blocks of {reached} cached"
    if row["state"] in (RUNNING, LOADING, WAITING):
        assert reached <= tokens, f"request {slot}: {reached} of {tokens} tokens computed"
        least, most = -(-reached // size), -(-tokens // size)
        assert least <= blocks <= most, f"request {slot} holds {blocks} blocks for {reached} tokens"
        _check_held(state, slot, hashed)


def _check_held(state: State, slot: int, hashed: int) -> None:
    row = state.requests[slot]
    pool = int(row["engine"])
    count = int(state.engines[pool]["keys_per_block"])
    for i, block in enumerate(_blocks_of(state, slot)):
        is_cached = bool(state.blocks[pool, block]["hashed"])
        assert is_cached == (i < hashed), f"request {slot}: block {i} of {hashed} cached ones"
        if is_cached:
            keys = state.block_keys[pool, block, :count]
            at = int(row["at"]) + i * count
            assert np.array_equal(keys, state.arena_keys[at : at + count]), (
                f"request {slot}: block {i} has the keys of another"
            )
        else:
            refs = state.blocks[pool, block]["refs"]
            assert refs == 1, f"request {slot}: {refs} share block {i}, which is not full"
