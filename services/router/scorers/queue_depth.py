"""Shortest queue at the engine."""

from dataclasses import dataclass

import numpy as np

from services.router.candidates import Candidates, Floats, RequestView
from services.router.plugins import scorer


@scorer("queue-depth", "distribution")
@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Min-max of the waiting requests over the candidates, inverted; equal queues score 1."""

    def __call__(self, request: RequestView, candidates: Candidates) -> Floats:
        """1 for the shortest queue, 0 for the longest, however little they differ."""
        waiting = candidates.waiting_requests
        longest = waiting.max()
        spread = longest - waiting.min()
        return (longest - waiting) / spread if spread else np.ones_like(waiting)
