"""The `random` picker."""

from collections import Counter

import numpy as np

from services.router.pickers.random import Random
from tests.services.router.given import view


def test_everybody_is_as_likely_whatever_the_totals() -> None:
    """300 draws over the unit interval are 100 for each of three."""
    totals = np.array([0.0, 9.0, 1.0])
    draws = (np.arange(300) + 0.5) / 300

    picks = [Random()(view(draw=draw), totals) for draw in draws]

    assert Counter(pick.position for pick in picks) == {0: 100, 1: 100, 2: 100}
    assert picks[0].reason == "one of 3 at random"


def test_the_highest_draw_is_within_bounds() -> None:
    """For any number of candidates."""
    draw = float(np.nextafter(1, 0))

    assert all(Random()(view(draw=draw), np.zeros(n)).position == n - 1 for n in range(1, 500))
