"""Fewest uncached tokens in flight, this request's included."""

from dataclasses import dataclass

import numpy as np

from services.router.candidates import Candidates, Floats, RequestView
from services.router.plugins import Positive, scorer


@scorer("token-load", "distribution")
@dataclass(frozen=True, slots=True)
class TokenLoad:
    """1 - (tokens in flight + own uncached tokens) / `capacity_tokens`, at least 0."""

    capacity_tokens: Positive = 4_194_304.0

    def __call__(self, request: RequestView, candidates: Candidates) -> Floats:
        """1 for an endpoint with nothing to prefill."""
        tokens = candidates.in_flight_prefill_tokens + candidates.uncached_tokens
        return np.clip(1 - tokens / self.capacity_tokens, 0, 1)
