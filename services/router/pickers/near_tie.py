"""A random one of the candidates that are about as good as the best."""

from dataclasses import dataclass

import numpy as np

from services.router.candidates import Floats, RequestView
from services.router.plugins import Pick, Share, picker


@picker("near-tie")
@dataclass(frozen=True, slots=True)
class NearTie:
    """Uniform among totals within `epsilon`, relative, of the best: that bounds the regret."""

    epsilon: Share = 0.02

    def __call__(self, request: RequestView, totals: Floats) -> Pick:
        """One of the near ties."""
        best = totals.max()
        near = np.flatnonzero(totals >= best - self.epsilon * abs(best))
        chosen = int(near[int(request.draw * near.size)])
        return Pick(chosen, f"one of {near.size} within {self.epsilon:.2%} of the best")
