"""The `weighted-random` picker."""

from collections import Counter

import numpy as np
import pytest

from services.router.pickers.weighted_random import WeightedRandom
from tests.services.router.given import view

DRAWS = (np.arange(1000) + 0.5) / 1000


def counts(totals: list[float]) -> Counter[int]:
    """Picks over evenly spaced draws."""
    return Counter(WeightedRandom()(view(draw=d), np.array(totals)).position for d in DRAWS)


@pytest.mark.parametrize(
    ("totals", "expected"),
    [
        ([2.0], {0: 1000}),
        ([0.1, 0.4, 0.5], {0: 100, 1: 400, 2: 500}),
        ([0.0, 1.0, 0.0, 3.0, 0.0], {1: 250, 3: 750}),
        ([0.0, 0.0], {0: 500, 1: 500}),
    ],
    ids=["one", "in proportion", "nothing for 0", "uniform when all are 0"],
)
def test_picks_are_in_proportion_to_totals(totals: list[float], expected: dict[int, int]) -> None:
    """Over 1,000 evenly spaced draws, to the pick."""
    assert counts(totals) == expected


def test_it_picks_as_often_as_a_res_does() -> None:
    """The highest of U^(1/w) over 20,000 draws of U per candidate, within one percent."""
    totals = np.array([0.01, 0.3, 1.0, 0.6])
    keys = np.random.default_rng(1).random((20_000, 4)) ** (1 / totals)
    expected = np.bincount(keys.argmax(axis=1), minlength=4) / 20_000

    picked = counts(totals.tolist())

    assert [picked[i] / 1000 for i in range(4)] == pytest.approx(expected.tolist(), abs=0.01)


def test_the_ends_of_the_draw_are_within_bounds() -> None:
    """Candidates with 0 at the ends are not picked, not even by the highest draw there is."""
    totals = np.array([0.0, 0.1, 0.2, 0.3, 0.0])

    first = WeightedRandom()(view(draw=0.0), totals)
    last = WeightedRandom()(view(draw=float(np.nextafter(1, 0))), totals)

    assert (first.position, last.position) == (1, 3)
    assert first.reason == "drawn with probability 0.167"
