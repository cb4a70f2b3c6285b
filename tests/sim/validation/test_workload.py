"""The workload that is predicted."""

import numpy as np
import pytest

from sim.validation.workload import PER_S, REQUESTS, conversations

TURNS = conversations(np.random.default_rng(3))


def test_a_seed_decides_every_turn() -> None:
    """Another one makes others."""
    assert conversations(np.random.default_rng(3)) == TURNS
    assert conversations(np.random.default_rng(4)) != TURNS


def test_turns_come_at_the_rate_in_the_order_of_their_times() -> None:
    """An open loop."""
    times = [turn.at_s for turn in TURNS]

    assert times == sorted(times)
    assert REQUESTS / times[-1] == pytest.approx(PER_S, rel=0.25)


def test_a_follow_up_comes_two_seconds_after_the_turn_before_it() -> None:
    """Each turn is followed by one other at most."""
    followed = [turn.follows for turn in TURNS if turn.follows is not None]

    assert len(followed) > REQUESTS / 8
    assert len(followed) == len(set(followed))
    assert all(
        turn.at_s >= TURNS[turn.follows].at_s + 2 for turn in TURNS if turn.follows is not None
    )


def test_first_turns_share_prefixes() -> None:
    """Few beginnings for many requests."""
    starts = {tuple(turn.tokens[:128]) for turn in TURNS if turn.follows is None}

    assert 2 <= len(starts) <= 8
