"""Split-conformal offsets: how far off, in log space, a model was on its newest samples."""

from dataclasses import dataclass

import numpy as np

from farsight.latency.analytic import Float64s
from farsight.latency.model import UNCALIBRATED_Q90_FACTOR

MIN_SAMPLES = 20


@dataclass(frozen=True, slots=True)
class Offsets:
    """Added to the log of a point prediction; q90 >= q50."""

    q50: float
    q90: float


UNCALIBRATED = Offsets(0.0, float(np.log(UNCALIBRATED_Q90_FACTOR)))


def calibrate(log_residuals: Float64s) -> Offsets:
    """Offsets from log(actual / predicted) of samples that the fit has not seen.

    UNCALIBRATED with fewer than MIN_SAMPLES.
    """
    if len(log_residuals) < MIN_SAMPLES:
        return UNCALIBRATED
    ordered = np.sort(log_residuals)
    return Offsets(_quantile(ordered, 0.5), _quantile(ordered, 0.9))


def _quantile(ordered: Float64s, level: float) -> float:
    """The ceil((n + 1) * level)-th smallest: the finite-sample correction of split conformal."""
    count = len(ordered)
    return float(ordered[min(int(np.ceil((count + 1) * level)), count) - 1])
