"""One after the other, whatever the scores."""

from dataclasses import dataclass

from services.router.candidates import Floats, RequestView
from services.router.plugins import Pick, picker


@picker("round-robin")
@dataclass(frozen=True, slots=True)
class RoundRobin:
    """The next candidate in order of endpoint id."""

    def __call__(self, request: RequestView, totals: Floats) -> Pick:
        """Position by decision number."""
        return Pick(request.decision_number % totals.size, "next in turn")
