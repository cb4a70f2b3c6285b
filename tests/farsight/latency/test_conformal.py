"""Conformal offsets."""

import numpy as np
import pytest

from farsight.latency.conformal import MIN_SAMPLES, UNCALIBRATED, calibrate


def test_q90_covers_at_least_nine_in_ten() -> None:
    """Over many calibrations on 50 skewed residuals, new ones fall below q90 in 90 to 93 %."""
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(2000):
        offsets = calibrate(np.log1p(rng.exponential(1, 50)))
        covered.append((np.log1p(rng.exponential(1, 100)) <= offsets.q90).mean())

    assert 0.9 <= np.mean(covered) < 0.93


def test_the_median_is_in_the_middle() -> None:
    """A constant bias comes back as q50."""
    residuals = np.random.default_rng(1).normal(0.5, 0.01, 1000)

    assert calibrate(residuals).q50 == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("count", [0, 1, MIN_SAMPLES - 1])
def test_too_few_residuals_are_not_trusted(count: int) -> None:
    """Below MIN_SAMPLES the default spread holds."""
    assert calibrate(np.full(count, 3.0)) is UNCALIBRATED


def test_the_ranks_are_those_of_the_finite_sample_rule() -> None:
    """Of 99 residuals the 50th and the 90th are taken."""
    offsets = calibrate(np.arange(1, 100, dtype=np.float64)[::-1])

    assert (offsets.q50, offsets.q90) == (50, 90)
