"""How good predictions are, on samples that the model has not seen."""

from dataclasses import dataclass

import numpy as np

from farsight.latency.analytic import Float64s
from farsight.latency.predictions import LatencyModel, Milliseconds
from farsight.latency.training_set import TrainingSet

LEVELS = (0.5, 0.9)


@dataclass(frozen=True, slots=True)
class TargetScore:
    """One target's errors; all 0 when `samples` is 0."""

    samples: int
    pinball: float
    """Mean pinball loss of q50 and q90, log space."""
    mape: float
    """Mean of |q50 / actual - 1|."""
    coverage_q90: float
    """Share of samples at or below q90."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Both targets."""

    ttft: TargetScore
    tpot: TargetScore

    @property
    def pinball(self) -> float:
        """Sum over the targets."""
        return self.ttft.pinball + self.tpot.pinball


def score(model: LatencyModel, samples: TrainingSet) -> Scores:
    """Errors of a model on samples."""
    predicted = model.predict(samples.features)
    return Scores(
        _target(samples.ttft_ms, predicted.ttft_q50_ms, predicted.ttft_q90_ms),
        _target(samples.tpot_ms, predicted.tpot_q50_ms, predicted.tpot_q90_ms),
    )


def _target(actual_ms: Float64s, q50_ms: Milliseconds, q90_ms: Milliseconds) -> TargetScore:
    known = actual_ms > 0
    if not known.any():
        return TargetScore(0, 0.0, 0.0, 0.0)
    actual = np.log(actual_ms[known])
    q50, q90 = (np.log(q[known].astype(np.float64)) for q in (q50_ms, q90_ms))
    return TargetScore(
        samples=int(known.sum()),
        pinball=pinball(actual, q50, LEVELS[0]) + pinball(actual, q90, LEVELS[1]),
        mape=float(np.abs(np.expm1(q50 - actual)).mean()),
        coverage_q90=float((actual <= q90).mean()),
    )


def pinball(actual: Float64s, predicted: Float64s, level: float) -> float:
    """Mean pinball loss at a quantile level."""
    error = actual - predicted
    return float(np.maximum(level * error, (level - 1) * error).mean())
