"""At random, the better the likelier."""

from dataclasses import dataclass

import numpy as np

from services.router.candidates import Floats, RequestView
from services.router.plugins import Pick, picker


@picker("weighted-random")
@dataclass(frozen=True, slots=True)
class WeightedRandom:
    """In proportion to the totals; uniform when all are 0.

    This is A-Res (Efraimidis and Spirakis, 2006) for one pick: -ln(U) / w is exponential with rate
    w, so the highest of U^(1/w) belongs to a candidate with probability w over the sum of weights.
    One draw then does for all candidates.
    """

    def __call__(self, request: RequestView, totals: Floats) -> Pick:
        """Where the draw falls among the totals laid end to end."""
        ends = np.cumsum(totals if totals.any() else np.ones_like(totals))
        position = int(np.searchsorted(ends, request.draw * ends[-1], side="right"))
        share = np.diff(ends, prepend=0)[position] / ends[-1]
        return Pick(position, f"drawn with probability {share:.3f}")
