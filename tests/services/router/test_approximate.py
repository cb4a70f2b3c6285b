"""The stand-in for the index: what was routed where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farsight.keys import Keys, chain
from farsight.table import BlockTable
from services.router import approximate
from services.router.approximate import ApproximateMemory
from tests.services.router.given import tokens


def tables(memory: ApproximateMemory) -> list[BlockTable]:
    """All of them."""
    return [table for shard in memory._shards for table in shard]


def keys_in(memory: ApproximateMemory) -> int:
    """Over all tables."""
    return sum(table.stats.distinct_keys for table in tables(memory))


def prompt(blocks: int, start: int = 0) -> Keys:
    """Keys of a prompt of its own."""
    return chain(1, tokens(blocks * 16, start), 16)


def test_what_was_routed_is_expected_there() -> None:
    """The longest shared prefix per endpoint; others have nothing."""
    memory = ApproximateMemory(100)
    memory.routed("a", prompt(10))
    memory.routed("b", prompt(4))

    assert memory.match(prompt(20), ("b", "nobody", "a")).tolist() == [4, 0, 10]
    assert memory.match(prompt(5, start=7), ("a", "b")).tolist() == [0, 0]
    assert memory.match(prompt(0), ("a",)).tolist() == [0]


def test_what_is_routed_again_stays_and_the_rest_goes() -> None:
    """Least recently routed first, within the bound."""
    memory = ApproximateMemory(100)
    hot = prompt(10, start=1_000_000)
    memory.routed("a", prompt(10))

    for i in range(1, 40):
        memory.routed("a", prompt(10, start=i * 1000))
        memory.routed("a", hot)

    assert memory.match(hot, ("a",)).tolist() == [10]
    assert memory.match(prompt(10), ("a",)).tolist() == [0]
    assert memory.match(prompt(10, start=39_000), ("a",)).tolist() == [10]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 60)), max_size=40))
def test_the_bound_holds(prompts: list[tuple[int, int]]) -> None:
    """Never more blocks of one endpoint than allowed, and the last prompt's head is there."""
    memory = ApproximateMemory(64)
    for start, blocks in prompts:
        keys = prompt(blocks, start * 10_000)
        memory.routed("a", keys)

        assert keys_in(memory) == memory.held <= 64
        assert memory.match(keys, ("a",)).tolist() == [min(blocks, 21)]
        for table in tables(memory):
            table.check_integrity()


def test_a_cache_that_is_gone_is_forgotten() -> None:
    """That endpoint's alone; its memory is used for the next one."""
    memory = ApproximateMemory(100)
    memory.routed("a", prompt(10))
    memory.routed("b", prompt(10))

    memory.forget("a")
    memory.forget("nobody")
    memory.routed("c", prompt(3))

    assert memory.match(prompt(10), ("a", "b", "c")).tolist() == [0, 10, 3]
    assert memory._slots == 2


def test_no_memory_is_allowed() -> None:
    """0 blocks switch it off."""
    memory = ApproximateMemory(0)

    memory.routed("a", prompt(10))

    assert memory.match(prompt(10), ("a",)).tolist() == [0]


def test_all_endpoints_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large fleet remembers less of each endpoint."""
    monkeypatch.setattr(approximate, "MAX_BLOCKS", 1000)
    memory = ApproximateMemory(1000)

    for i in range(10):
        for endpoint in range(50):
            memory.routed(f"e{endpoint}", prompt(20, start=(endpoint * 10 + i) * 1000))

    assert keys_in(memory) == memory.held <= 1000
    assert memory.match(prompt(20, start=9000), ("e0",)).tolist() == [6]


def test_endpoints_that_were_routed_to_long_ago_make_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Together they keep the bound, though each was allowed more when there were fewer."""
    monkeypatch.setattr(approximate, "MAX_BLOCKS", 1000)
    memory = ApproximateMemory(1000)

    for endpoint in range(200):
        for i in range(30):
            memory.routed(f"e{endpoint}", prompt(20, start=(endpoint * 30 + i) * 1000))
            assert memory.held <= 1000

    last = prompt(20, start=(199 * 30 + 29) * 1000)
    assert keys_in(memory) == memory.held
    assert memory.match(prompt(20, start=29_000), ("e0",)).tolist() == [0]
    assert memory.match(last, ("e199", "e0")).tolist()[0] > 0
    assert len(memory._routed) == memory._slots - len(memory._free)


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(1, 30), st.booleans()),
        max_size=60,
    )
)
def test_whatever_comes_the_count_is_that_of_the_tables(
    program: list[tuple[int, int, int, bool]],
) -> None:
    """And the prompt that came last is there from its first block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(approximate, "MAX_BLOCKS", 200)
        memory = ApproximateMemory(100)
        for endpoint, start, blocks, is_gone in program:
            keys = prompt(blocks, start * 10_000)
            if is_gone:
                memory.forget(f"e{endpoint}")
                continue
            memory.routed(f"e{endpoint}", keys)

            assert memory.held <= 200
            held = sum(table.held(slot) for table in tables(memory) for slot in range(64))
            assert held == memory.held
            assert memory.match(keys, (f"e{endpoint}",)).tolist()[0] >= min(blocks, 200 // 7 // 3)


def test_many_endpoints_are_told_apart() -> None:
    """More than a table has slots for."""
    memory = ApproximateMemory(100)
    ids = [f"e{i}" for i in range(150)]
    for i, endpoint_id in enumerate(ids):
        memory.routed(endpoint_id, prompt(1 + i % 7, start=i * 1000))

    for i in (0, 63, 64, 127, 128, 149):
        found = memory.match(prompt(10, start=i * 1000), ids).tolist()
        assert found == [0] * i + [1 + i % 7] + [0] * (149 - i)


def test_what_is_forgotten_goes_a_little_with_each_call() -> None:
    """A slot is given to another endpoint when nothing of the one that left is in it any more."""
    memory = ApproximateMemory(3000)
    memory.routed("a", prompt(900))
    memory.routed("a", prompt(700, start=10**6))
    memory.routed("b", prompt(1, start=2 * 10**6))

    memory.forget("a")
    at_once = memory.match(prompt(900), ("a", "b")).tolist()
    left = keys_in(memory)
    memory.routed("c", prompt(5))
    for _ in range(10):
        memory.routed("b", prompt(1, start=2 * 10**6))
    memory.routed("d", prompt(5))

    assert at_once == [0, 0]
    assert left > 1
    assert (keys_in(memory), memory.held) == (6, 11)
    assert memory.match(prompt(900), ("a", "b", "c", "d")).tolist() == [0, 0, 5, 5]
    assert memory._slots == 3
