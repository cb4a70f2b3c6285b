"""Fewest requests in flight."""

from dataclasses import dataclass

from services.router.candidates import Candidates, Floats, RequestView
from services.router.plugins import scorer


@scorer("active-requests", "distribution")
@dataclass(frozen=True, slots=True)
class ActiveRequests:
    """1 / (1 + requests in flight over all router replicas)."""

    def __call__(self, request: RequestView, candidates: Candidates) -> Floats:
        """1 for an idle endpoint."""
        return 1 / (1 + candidates.in_flight_requests)
