"""Arrival times of requests."""

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]


def poisson_times(rate_per_s: float, duration_s: float, rng: np.random.Generator) -> Times:
    """The times of a Poisson process in [0, `duration_s`), in order."""
    # Given their number, the arrivals of a Poisson process are uniform.
    times = rng.uniform(0.0, duration_s, rng.poisson(rate_per_s * duration_s))
    times.sort()
    return times
