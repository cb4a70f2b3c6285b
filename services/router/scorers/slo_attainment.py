"""Probability that the request meets its targets."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from services.router.candidates import Candidates, Floats, RequestView
from services.router.plugins import scorer

# q90 of a log-normal lies 1.2816 standard deviations above its median.
Z90 = 1.2815515655446004
MIN_SIGMA = 0.01


@scorer("slo-attainment", "balance")
@dataclass(frozen=True, slots=True)
class SloAttainment:
    """P(TTFT <= target) x P(TPOT <= target), from log-normal residuals; 1 without targets."""

    def __call__(self, request: RequestView, candidates: Candidates) -> Floats:
        """A probability per candidate."""
        met = np.ones(len(candidates))
        for target_ms, q50_ms, q90_ms in (
            (request.slo_ttft_ms, candidates.ttft_q50_ms, candidates.ttft_q90_ms),
            (request.slo_tpot_ms, candidates.tpot_q50_ms, candidates.tpot_q90_ms),
        ):
            if target_ms is not None:
                met *= probability_below(target_ms, q50_ms, q90_ms)
        return met


def probability_below(target_ms: float, q50_ms: Floats, q90_ms: Floats) -> Floats:
    """P(latency <= target) where ln(latency) is normal with the given quantiles."""
    sigma = np.maximum(np.log(q90_ms / q50_ms) / Z90, MIN_SIGMA)
    below: Floats = ndtr((np.log(target_ms) - np.log(q50_ms)) / sigma)
    return below
