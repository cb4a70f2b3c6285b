"""Analytic rates from samples: robust, non-negative, pulled towards prior rates.

Iteratively reweighted least squares on the relative error, with Huber weights, so that a 20 ms and
a 20 s request count alike and a stalled one hardly counts. The prior, scaled to the samples'
overall speed, is a ridge: it decides every rate that the data cannot identify.
"""

from dataclasses import astuple

import numpy as np
from scipy.optimize import nnls

from farsight.latency.analytic import (
    FLOOR_MS,
    AnalyticRates,
    Float64s,
    TpotRates,
    TtftRates,
    clean,
    tpot_terms,
    ttft_terms,
)
from farsight.latency.training_set import TrainingSet

PRIOR_DEVIATION = 1.0  # of a rate from its scaled prior, as a share of it
ITERATIONS = 20
_HUBER_DEVIATIONS = 1.345
_MAD_TO_DEVIATION = 1.4826
_SMALLEST_DEVIATION = 0.01
_TOLERANCE = 1e-4


def fit_rates(samples: TrainingSet, prior: AnalyticRates) -> AnalyticRates:
    """Rates of the samples; a target without any keeps its prior."""
    matrix = clean(samples.features)
    has_ttft, has_tpot = samples.has_ttft, samples.has_tpot
    ttft = _solve(ttft_terms(matrix[has_ttft]), samples.ttft_ms[has_ttft], astuple(prior.ttft))
    tpot = _solve(tpot_terms(matrix[has_tpot]), samples.tpot_ms[has_tpot], astuple(prior.tpot))
    return AnalyticRates(TtftRates(*ttft), TpotRates(*tpot))


def _solve(terms: Float64s, actual_ms: Float64s, prior: tuple[float, ...]) -> list[float]:
    """Rates >= 0 that explain `actual_ms` as `terms @ rates`."""
    if not len(actual_ms):
        return list(prior)
    speed = float(np.median(actual_ms / np.maximum(terms @ np.array(prior), FLOOR_MS)))
    scale = np.array(prior) * speed
    scaled = terms * scale
    shares = np.ones(len(prior))
    for _ in range(ITERATIONS):
        before = shares
        shares = _reweighted(scaled, actual_ms, np.maximum(scaled @ shares, FLOOR_MS))
        if np.abs(shares - before).max() < _TOLERANCE * (1 + shares.max()):
            break
    return [float(rate) for rate in shares * scale]


def _reweighted(scaled: Float64s, actual_ms: Float64s, predicted_ms: Float64s) -> Float64s:
    """One step: shares >= 0 of the scaled prior, given the last step's prediction."""
    distance = np.abs(actual_ms / predicted_ms - 1)
    deviation = max(_MAD_TO_DEVIATION * float(np.median(distance)), _SMALLEST_DEVIATION)
    weight = np.minimum(1.0, _HUBER_DEVIATIONS * deviation / np.maximum(distance, 1e-12))
    root = np.sqrt(weight) / predicted_ms
    ridge = deviation / PRIOR_DEVIATION * np.eye(scaled.shape[1])
    stacked = np.vstack((scaled * root[:, None], ridge))
    target = np.concatenate((actual_ms * root, ridge.sum(axis=1)))
    orthogonal, triangle = np.linalg.qr(stacked)
    shares, _ = nnls(triangle, orthogonal.T @ target)
    return np.asarray(shares)
