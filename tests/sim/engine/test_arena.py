"""Ranges for requests in flight."""

import random

from sim.engine.arena import Arena


def test_ranges_do_not_overlap() -> None:
    """Whatever is taken and given back in between."""
    rng = random.Random(1)
    arena = Arena()
    taken: dict[int, int] = {}
    for _ in range(2000):
        if taken and rng.random() < 0.5:
            start = rng.choice(list(taken))
            arena.give_back(start, taken.pop(start))
        else:
            entries = rng.choice([1, 15, 16, 17, 100, 129, 1000])
            taken[arena.take(entries)] = entries
        ends_at = 0
        for start, entries in sorted(taken.items()):
            assert start >= ends_at
            ends_at = start + entries
        assert ends_at <= arena.size


def test_a_range_that_was_given_back_is_taken_again() -> None:
    """By a request of about the same size; the arena does not grow."""
    arena = Arena()
    start = arena.take(100)
    arena.take(10)
    size = arena.size

    arena.give_back(start, 100)

    assert arena.take(128) == start
    assert arena.size == size


def test_a_larger_request_does_not_get_a_smaller_range() -> None:
    """It would reach into the next one."""
    arena = Arena()
    start = arena.take(16)
    arena.take(16)
    arena.give_back(start, 16)

    assert arena.take(17) == 32
