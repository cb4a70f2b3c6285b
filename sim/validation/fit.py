"""Constants from whole timelines: the engine model replays the calibration, least squares decide.

Requests that overlap wait for each other's steps, which no closed form says. As long as the same
requests share the same steps, what a client sees is linear in the constants; so each iteration
solves the linear problem around the last replay (Gauss-Newton on the logarithm of the times).
The workload that is predicted later takes no part in this.
"""

from collections.abc import Sequence

import numpy as np

from sim.engine.spec import StepRates
from sim.validation.estimate import estimate
from sim.validation.records import Observation, PodSizes
from sim.validation.replay import Constants, Predicted, Script, replay, script_of
from sim.validation.robust import Float64s, robust_nnls

_ITERATIONS = 16
_SLOWNESS_ITERATIONS = 4
# Differences of the logarithm beyond this count less: a request that somebody else's work held up.
_SOFT_ERROR = 0.1
# Sizes of constants. A difference of a millionth of one does not move a request to another step.
_TYPICAL = Constants(StepRates(2e-3, 5e-5, 5e-8, 1e-4, 5e-7), 4e-3, 1e-6, 3e-4)
_DIFFERENCE = 1e-6
_LEAST_SHARE = 1e-3
"""Of the typical size, to start from."""

Parts = Sequence[Sequence[Observation]]


def fit(parts: Parts, sizes: PodSizes) -> Constants:
    """Constants of a calibration; the pod's cache was empty before each part."""
    timeline = _Timeline(parts, sizes)
    typical = np.array(_TYPICAL.vector)
    estimated = estimate([request for part in parts for request in part], sizes)
    vector = np.maximum(estimated.vector, _LEAST_SHARE * typical)
    best, least = vector, np.inf
    for _ in range(_ITERATIONS):
        predicted = timeline.predicted(vector)
        errors = np.log(timeline.measured / predicted)
        loss = float(np.mean(np.hypot(1, errors / _SOFT_ERROR)))
        if loss < least:
            best, least = vector, loss
        slopes = timeline.slopes(vector, predicted, _DIFFERENCE * typical)
        vector = robust_nnls(slopes, predicted * errors + slopes @ vector, predicted)
    return Constants.of_vector(best)


def slowness(parts: Parts, sizes: PodSizes, constants: Constants) -> float:
    """How many times as long everything takes in this calibration as the constants say."""
    timeline = _Timeline(parts, sizes)
    factor = 1.0
    for _ in range(_SLOWNESS_ITERATIONS):
        predicted = timeline.predicted(np.array(constants.slowed(factor).vector))
        factor *= float(np.exp(np.median(np.log(timeline.measured / predicted))))
    return factor


class _Timeline:
    """First tokens of all requests, and ends of those that have more, part by part."""

    def __init__(self, parts: Parts, sizes: PodSizes) -> None:
        self._sizes = sizes
        self._scripts = [script_of(part) for part in parts]
        self.measured = np.concatenate(
            [_times(part, script) for part, script in zip(parts, self._scripts, strict=True)]
        )

    def predicted(self, vector: Float64s) -> Float64s:
        """What a pod with these constants shows."""
        constants = Constants.of_vector(vector)
        return np.concatenate(
            [_times(replay(script, self._sizes, constants), script) for script in self._scripts]
        )

    def slopes(self, vector: Float64s, predicted: Float64s, differences: Float64s) -> Float64s:
        """By how much each time grows with each constant."""
        columns = []
        for i, difference in enumerate(differences):
            moved = vector.copy()
            moved[i] += difference
            columns.append((self.predicted(moved) - predicted) / difference)
        return np.stack(columns, axis=1)


def _times(requests: Sequence[Observation | Predicted], script: Script) -> Float64s:
    first = [request.ttft_s for request in requests]
    ends = [r.e2e_s for r, n in zip(requests, script.output_tokens, strict=True) if n > 1]
    return np.array(first + ends)
