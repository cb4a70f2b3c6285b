"""Leave out endpoints that failed a request moments ago."""

from dataclasses import dataclass

from services.router.candidates import Candidates, Mask, RequestView
from services.router.plugins import filter_plugin


@filter_plugin("available")
@dataclass(frozen=True, slots=True)
class Available:
    """Keeps endpoints that are not inhibited."""

    def __call__(self, request: RequestView, candidates: Candidates) -> Mask:
        """True where no failure was reported lately."""
        return ~candidates.inhibited
