"""Constants from whole timelines: the engine model replays the calibration, least squares decide.

Requests that overlap wait for each other's steps, which no closed form says. The workload that is
predicted later takes no part in this.
"""

from collections.abc import Sequence
from dataclasses import astuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from sim.engine.spec import StepRates
from sim.validation.estimate import estimate
from sim.validation.records import Observation, PodSizes
from sim.validation.replay import Constants, Predicted, replay, script_of

Float64s = npt.NDArray[np.float64]
# Relative errors beyond this count less: a request that somebody else's work held up.
_SOFT_ERROR = 0.1
# The model answers in whole steps, so a difference has to be wide enough to be felt.
_DIFFERENCE = 0.02
_MAX_CALLS = 40
# Where an estimate is zero, the fit still has to be able to move.
_LEAST_SHARE = 0.05
_TYPICAL = Constants(StepRates(2e-3, 5e-5, 5e-8, 1e-4, 5e-7), 4e-3, 1e-6, 3e-4)


def fit(parts: Sequence[Sequence[Observation]], sizes: PodSizes) -> Constants:
    """Constants of a calibration; the pod's cache was empty before each part."""
    scripts = [script_of(part) for part in parts]
    measured = np.concatenate([_measured(part) for part in parts])
    start = _vector(estimate([request for part in parts for request in part], sizes))
    scale = np.maximum(start, _LEAST_SHARE * _vector(_TYPICAL))

    def residuals(shares: Float64s) -> Float64s:
        constants = _constants(shares * scale)
        predicted = [_predicted(replay(script, sizes, constants)) for script in scripts]
        errors: Float64s = np.log(np.concatenate(predicted) / measured)
        return errors

    found = least_squares(
        residuals,
        start / scale,
        bounds=(0, np.inf),
        loss="soft_l1",
        f_scale=_SOFT_ERROR,
        diff_step=_DIFFERENCE,
        max_nfev=_MAX_CALLS,
    )
    return _constants(found.x * scale)


def _measured(observations: Sequence[Observation]) -> Float64s:
    """First tokens of all, then the decode times of those that have any."""
    return np.array(
        [o.ttft_s for o in observations]
        + [o.e2e_s - o.ttft_s for o in observations if len(o.output) > 1]
    )


def _predicted(found: Sequence[Predicted]) -> Float64s:
    """In the order of `_measured`."""
    return np.array(
        [p.ttft_s for p in found] + [p.e2e_s - p.ttft_s for p in found if p.e2e_s > p.ttft_s]
    )


def _vector(constants: Constants) -> Float64s:
    return np.array(
        [
            *astuple(constants.rates),
            constants.request_s,
            constants.request_s_per_token,
            constants.output_s,
        ]
    )


def _constants(vector: Float64s) -> Constants:
    values = [float(value) for value in vector]
    return Constants(StepRates(*values[:5]), *values[5:])
