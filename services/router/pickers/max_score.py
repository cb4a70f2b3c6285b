"""The highest total; equal ones take turns at random."""

from dataclasses import dataclass

import numpy as np

from services.router.candidates import Floats, RequestView
from services.router.plugins import Pick, picker


@picker("max-score")
@dataclass(frozen=True, slots=True)
class MaxScore:
    """Argmax with a random choice among exact ties."""

    def __call__(self, request: RequestView, totals: Floats) -> Pick:
        """The best candidate."""
        best = np.flatnonzero(totals == totals.max())
        return Pick(int(best[int(request.draw * best.size)]), f"highest of {totals.size}")
