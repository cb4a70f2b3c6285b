"""The `near-tie` picker."""

import numpy as np
import pytest

from services.router.pickers.near_tie import NearTie
from tests.services.router.given import view


@pytest.mark.parametrize(
    ("totals", "near"),
    [
        ([1.0], {0}),
        ([1.0, 0.98, 0.97], {0, 1}),
        ([0.5, 1.0, 0.999, 1.0], {1, 2, 3}),
        ([0.0, 0.0], {0, 1}),
    ],
    ids=["one", "at the edge", "among them", "all nothing"],
)
def test_each_near_tie_is_picked_and_nothing_else(totals: list[float], near: set[int]) -> None:
    """Over all draws, exactly those within 2 % of the best."""
    draws = np.linspace(0, 1, 50, endpoint=False)

    picks = [NearTie(epsilon=0.02)(view(draw=d), np.array(totals)) for d in draws]

    assert {pick.position for pick in picks} == near
    assert picks[0].reason == f"one of {len(near)} within 2.00% of the best"
