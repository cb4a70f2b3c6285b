"""The check finds what is wrong, and says what it is."""

from collections.abc import Callable

import pytest

from sim.engine.integrity import check_integrity
from sim.engine.layout import NONE, State
from tests.sim.engine.given import Watched, prompt, spec, watched


@pytest.fixture
def busy() -> Watched:
    """Two requests that run, one that waits, a cached block with a copy, free blocks."""
    engine = watched(spec(blocks=20, sequences=2))
    for _ in range(2):
        engine.submit(prompt(seed=9, length_tokens=48), engine.engines.reached_s)
        engine.run(engine.engines.reached_s + 10)
    for seed in (1, 2, 3):
        engine.submit(prompt(seed, 40, output_tokens=9), engine.engines.reached_s)
    engine.run(engine.engines.next_s)
    assert (engine.engines.gauges(0).running, engine.engines.gauges(0).waiting) == (2, 1)
    check_integrity(engine.engines)
    return engine


def first_cached(state: State) -> int:
    """A block with keys."""
    return int(state.blocks[0]["hashed"].argmax())


def leak(state: State) -> None:
    """The first free block is in no list."""
    head = state.pools[0]
    block = int(head["head"])
    head["head"] = state.blocks[0, block]["next"]
    state.blocks[0, int(head["head"])]["prev"] = NONE
    head["free"] -= 1


def close_circle(state: State) -> None:
    """The list of free blocks begins again at its end."""
    head = state.pools[0]
    state.blocks[0, int(head["tail"])]["next"] = head["head"]


def break_link(state: State) -> None:
    """A block points back at the wrong one."""
    state.blocks[0, int(state.pools[0]["tail"])]["prev"] = 19


def add_holder(state: State) -> None:
    """A block counts one holder too many."""
    state.blocks[0, int(state.arena_blocks[state.requests[state.running[0, 0]]["at"]])]["refs"] += 1


def lose_key(state: State) -> None:
    """A cached block is not in the index."""
    key = state.block_keys[0, first_cached(state), 0]
    state.index_keys[0][state.index_keys[0] == key] = 0


def move_key(state: State) -> None:
    """A key stands where no search finds it."""
    keys, entries = state.index_keys[0], state.entries[0]
    at = int(keys.argmax())
    to = next(i for i in range(at + 2, at + 60) if not keys[i % 64] and not keys[(i - 1) % 64]) % 64
    keys[to], keys[at] = keys[at], 0
    entries[to] = entries[at]


def miscount(state: State) -> None:
    """The index counts a copy that is not there."""
    state.entries[0]["count"][int(state.index_keys[0].argmax())] += 1


def forget_copy(state: State) -> None:
    """The second copy of a block cannot be reached."""
    state.blocks[0]["twin"] = NONE


def skip_waiting(state: State) -> None:
    """The queue has lost its only request."""
    state.engines[0]["waiting_head"] = NONE


def fall_asleep(state: State) -> None:
    """Nothing will ever happen."""
    state.next_s[0] = float("inf")


def swap_keys(state: State) -> None:
    """A request holds a block that belongs to another prefix."""
    first, second = (int(state.requests[state.running[0, i]]["at"]) for i in (0, 1))
    blocks = state.arena_blocks
    blocks[first], blocks[second] = blocks[second], blocks[first]


def compute_too_much(state: State) -> None:
    """Tokens that are not known yet."""
    state.requests[state.running[0, 0]]["scheduled"] += 1


def overlap(state: State) -> None:
    """Two requests have the same range."""
    slots = state.running[0]
    state.requests[slots[0]]["at"] = state.requests[slots[1]]["at"] + 1


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (leak, "neither free nor held"),
        (close_circle, "more blocks in the free list"),
        (break_link, "before block"),
        (add_holder, "counts 2 holders"),
        (lose_key, "the index has"),
        (move_key, "no search finds"),
        (miscount, "wrong number of copies"),
        (forget_copy, "the index says"),
        (skip_waiting, "0 wait, not 1"),
        (fall_asleep, "sleeps while"),
        (swap_keys, "has the keys of another"),
        (compute_too_much, "tokens computed"),
        (overlap, "in the range of another"),
    ],
)
def test_damage_is_named(busy: Watched, damage: Callable[[State], None], said: str) -> None:
    """One fault, one sentence about it."""
    damage(busy.engines.state)

    with pytest.raises(AssertionError, match=said):
        check_integrity(busy.engines)
