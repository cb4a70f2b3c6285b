"""Anybody, whatever the scores."""

from dataclasses import dataclass

from services.router.candidates import Floats, RequestView
from services.router.plugins import Pick, picker


@picker("random")
@dataclass(frozen=True, slots=True)
class Random:
    """Uniform over the candidates."""

    def __call__(self, request: RequestView, totals: Floats) -> Pick:
        """Position by the draw."""
        return Pick(int(request.draw * totals.size), f"one of {totals.size} at random")
