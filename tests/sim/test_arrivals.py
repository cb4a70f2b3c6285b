"""Arrival times."""

import numpy as np

from sim.arrivals import poisson_times


def test_arrivals_are_in_order_and_within_the_duration() -> None:
    """Their count varies from seed to seed around rate times duration."""
    counts = []
    for seed in range(200):
        times = poisson_times(5.0, 20.0, np.random.default_rng(seed))
        assert np.all(np.diff(times) >= 0)
        assert 0 <= times[0] <= times[-1] < 20
        counts.append(times.size)

    assert abs(np.mean(counts) - 100) < 4
    assert 70 < np.var(counts) < 140


def test_a_rate_that_brings_nobody_gives_no_arrivals() -> None:
    """An empty array, no error."""
    assert poisson_times(1e-9, 1.0, np.random.default_rng(1)).size == 0
