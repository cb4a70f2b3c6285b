"""Stick to endpoints that hold the prefix, until their backlog costs more than it saves."""

from dataclasses import dataclass

import numpy as np

from services.router.candidates import Candidates, Mask, RequestView
from services.router.plugins import NotNegative, Positive, Share, filter_plugin


@filter_plugin("prefix-cache-affinity")
@dataclass(frozen=True, slots=True)
class PrefixCacheAffinity:
    """Keeps endpoints whose cached share reaches `threshold`.

    Released when the least loaded of them would start `max_ttft_penalty_ms` later than the least
    loaded other endpoint, by tokens in flight over the measured peak prefill rate.
    """

    threshold: Share = 0.8
    max_ttft_penalty_ms: NotNegative = 18_000.0
    peak_prefill_tokens_per_s: Positive = 15_928.0

    def __call__(self, request: RequestView, candidates: Candidates) -> Mask:
        """The warm endpoints, or all of them when affinity is released."""
        warm: Mask = candidates.cached_tokens >= self.threshold * request.prompt_tokens
        if not warm.any() or warm.all():
            return np.ones(len(candidates), np.bool_)
        wait_ms = candidates.in_flight_prefill_tokens / self.peak_prefill_tokens_per_s * 1000
        penalty_ms = wait_ms[warm].min() - wait_ms[~warm].min()
        return np.ones_like(warm) if penalty_ms > self.max_ttft_penalty_ms else warm
