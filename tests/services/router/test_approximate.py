"""The stand-in for the index: what was routed where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farsight.keys import Keys, chain
from services.router import approximate
from services.router.approximate import ApproximateMemory
from tests.services.router.given import tokens


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

        held = sum(t.stats.distinct_keys for t in memory._tables)
        assert held <= 64
        assert memory.match(keys, ("a",)).tolist() == [min(blocks, 21)]
        for table in memory._tables:
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

    held = sum(len(k) for r in memory._routed.values() for part in r.keys for k in part)
    assert held <= 1000
    assert memory.match(prompt(20, start=9000), ("e0",)).tolist() == [6]


def test_what_is_forgotten_goes_a_little_with_each_call() -> None:
    """A slot is given to another endpoint when nothing of the one that left is in it any more."""
    memory = ApproximateMemory(3000)
    memory.routed("a", prompt(900))
    memory.routed("a", prompt(700, start=10**6))
    memory.routed("b", prompt(1, start=2 * 10**6))

    memory.forget("a")
    at_once = memory.match(prompt(900), ("a", "b")).tolist()
    left = sum(table.stats.distinct_keys for table in memory._tables)
    memory.routed("c", prompt(5))
    for _ in range(10):
        memory.routed("b", prompt(1, start=2 * 10**6))
    memory.routed("d", prompt(5))

    assert at_once == [0, 0]
    assert left > 1
    assert sum(table.stats.distinct_keys for table in memory._tables) == 6
    assert memory.match(prompt(900), ("a", "b", "c", "d")).tolist() == [0, 0, 5, 5]
    assert memory._slots == 3
