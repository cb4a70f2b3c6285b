"""Share of the prompt that is cached."""

from dataclasses import dataclass

from services.router.candidates import Candidates, Floats, RequestView
from services.router.plugins import scorer


@scorer("prefix", "affinity")
@dataclass(frozen=True, slots=True)
class Prefix:
    """Cached tokens over prompt tokens."""

    def __call__(self, request: RequestView, candidates: Candidates) -> Floats:
        """1 for a prompt that is wholly cached."""
        return candidates.cached_tokens / max(request.prompt_tokens, 1)
