"""The `round-robin` picker."""

from collections import Counter

import numpy as np

from services.router.pickers.round_robin import RoundRobin
from tests.services.router.given import view


def test_everybody_has_the_same_number_of_turns() -> None:
    """Scores do not matter; one is always the next."""
    totals = np.array([0.0, 5.0, 1.0])

    positions = [RoundRobin()(view(turn=turn), totals).position for turn in range(9)]

    assert positions == [0, 1, 2] * 3
    assert set(Counter(positions).values()) == {3}


def test_one_candidate_is_always_next() -> None:
    """There is nobody else."""
    assert {RoundRobin()(view(turn=t), np.zeros(1)).position for t in range(4)} == {0}
