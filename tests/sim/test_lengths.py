"""Distributions of token counts."""

import numpy as np
import pytest

from sim.lengths import Fixed, LogNormal, Normal


def test_a_fixed_length_is_always_the_same() -> None:
    """It draws nothing from the generator."""
    rng = np.random.default_rng(1)

    assert Fixed(7).draw(3, rng).tolist() == [7, 7, 7]
    assert rng.random() == np.random.default_rng(1).random()


@pytest.mark.parametrize("lengths", [Normal(1000, 300), LogNormal(1500, 1200), LogNormal(800, 600)])
def test_draws_have_the_mean_and_the_deviation(lengths: Normal | LogNormal) -> None:
    """Within what 100,000 draws tell."""
    drawn = lengths.draw(100_000, np.random.default_rng(1))

    assert drawn.mean() == pytest.approx(lengths.mean, rel=0.02)
    assert drawn.std() == pytest.approx(lengths.deviation, rel=0.05)


@pytest.mark.parametrize("kind", [Normal, LogNormal])
def test_draws_stay_within_their_bounds(kind: type[Normal] | type[LogNormal]) -> None:
    """Both bounds are reached, none is passed."""
    drawn = kind(50, 100, low=20, high=80).draw(1000, np.random.default_rng(1))

    assert (drawn.min(), drawn.max()) == (20, 80)
