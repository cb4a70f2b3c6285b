"""Least added delay, over this request and those that are running already."""

from dataclasses import dataclass

import numpy as np

from services.router.candidates import Candidates, Floats, RequestView
from services.router.plugins import NotNegative, scorer


@scorer("marginal-cost", "balance")
@dataclass(frozen=True, slots=True)
class MarginalCost:
    """Lowest cost over own cost, in (0, 1].

    Cost in ms = predicted TTFT + expected output x predicted TPOT + harm. Chunked prefill delays
    every decode on the endpoint by the request's own prefill time: that is the harm.
    """

    harm_weight: NotNegative = 1.0

    def __call__(self, request: RequestView, candidates: Candidates) -> Floats:
        """1 for the cheapest candidate."""
        own_ms = candidates.ttft_q50_ms + request.expected_output_tokens * candidates.tpot_q50_ms
        prefill_ms = candidates.uncached_tokens * candidates.prefill_ms_per_token
        cost_ms = own_ms + self.harm_weight * prefill_ms * candidates.decoding
        cheapest: Floats = np.min(cost_ms) / cost_ms
        return cheapest
