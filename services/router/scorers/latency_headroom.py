"""Predicted latency against the targets, in the way of llm-d's latency scorer."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from services.router.candidates import Candidates, Floats, Mask, RequestView
from services.router.plugins import NotNegative, scorer

# Headrooms that differ by less are equal.
EQUAL_MS = 1e-9


@scorer("latency-headroom", "balance")
@dataclass(frozen=True, slots=True)
class LatencyHeadroom:
    """Min-max of the headrooms within the best group of candidates; 0 outside of it.

    Headroom is target minus predicted q50, and a missing target is one of 0. The best group is, of
    those that are not empty: both targets met; idle; TTFT met; TPOT met; everybody. Where both are
    met, `least` fills up endpoints that just meet the targets and `most` keeps away from them;
    elsewhere the least deficit is best. Scores come in steps of a hundredth; in the group that is
    the lowest.
    """

    ttft_weight: NotNegative = 0.8
    tpot_weight: NotNegative = 0.2
    strategy: Literal["least", "most"] = "least"

    def __call__(self, request: RequestView, candidates: Candidates) -> Floats:
        """1 for the best of the group."""
        ttft_ms = (request.slo_ttft_ms or 0) - candidates.ttft_q50_ms
        tpot_ms = (request.slo_tpot_ms or 0) - candidates.tpot_q50_ms
        met = (ttft_ms >= 0) & (tpot_ms >= 0)
        group = _first_with_any(met, candidates.in_flight_requests == 0, ttft_ms >= 0, tpot_ms >= 0)
        distance = self._distance(np.abs(ttft_ms[group]), np.abs(tpot_ms[group]))
        rate = distance if self.strategy == "most" and met.any() else 1 - distance
        scores = np.zeros(len(candidates))
        scores[group] = np.minimum((np.floor(rate * 100) + 1) / 100, 1)
        return scores

    def _distance(self, ttft_ms: Floats, tpot_ms: Floats) -> Floats:
        """From the targets, 0 to 1; a dimension without a spread leaves its weight to the other."""
        total = self.ttft_weight + self.tpot_weight
        ttft_share = self.ttft_weight / total if total else 1.0
        ttft_differs, tpot_differs = _differ(ttft_ms), _differ(tpot_ms)
        if ttft_differs != tpot_differs:
            ttft_share = float(ttft_differs)
        return ttft_share * _min_max(ttft_ms) + (1 - ttft_share) * _min_max(tpot_ms)


def _first_with_any(*groups: Mask) -> Mask:
    return next((group for group in groups if group.any()), np.ones_like(groups[0]))


def _differ(values: Floats) -> bool:
    return bool(np.ptp(values) > EQUAL_MS)


def _min_max(values: Floats) -> Floats:
    if not _differ(values):
        return np.full_like(values, 0.5)
    scaled: Floats = (values - values.min()) / np.ptp(values)
    return scaled
