"""Most of the KV cache unused."""

from dataclasses import dataclass

from services.router.candidates import Candidates, Floats, RequestView
from services.router.plugins import scorer


@scorer("kv-headroom", "distribution")
@dataclass(frozen=True, slots=True)
class KvHeadroom:
    """1 - usage of the device KV cache, as the engine reported it."""

    def __call__(self, request: RequestView, candidates: Candidates) -> Floats:
        """1 for an empty cache, 0 for a full one."""
        return 1 - candidates.kv_usage_ratio.clip(0, 1)
