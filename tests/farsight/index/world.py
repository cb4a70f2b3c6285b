"""An index with a clock that the tests turn."""

from farsight.index.budget import DEFAULT_BUDGET_BYTES
from farsight.index.match import Confidence
from farsight.index.state import KvIndex
from tests.farsight.index.loading import finish
from tests.farsight.index.messages import Cache

EXACT = (Confidence.EXACT, "")
GAP = (Confidence.DEGRADED, "gap")
UNKNOWN = (Confidence.DEGRADED, "waiting for a snapshot")
SILENT = (Confidence.DEGRADED, "no heartbeat")


class World:
    """An index, its clock, and the snapshots that it asked for."""

    def __init__(self, budget_bytes: int = DEFAULT_BUDGET_BYTES) -> None:
        self.now_s = 1000.0
        self.wanted: list[str] = []
        self.index = KvIndex(lambda: self.now_s, self.wanted.append, budget_bytes)

    def hear(self, cache: Cache) -> None:
        """A heartbeat comes."""
        self.index.heard(cache.heartbeat())

    def confidence(self, endpoint_id: str = "a") -> tuple[Confidence, str]:
        """How far the index trusts an endpoint, and why not further."""
        found = next(s for s in self.index.report() if s.endpoint_id == endpoint_id)
        return found.confidence, found.reason

    def held(self, endpoint_id: str = "a", group: int = 0) -> dict[int, frozenset[int]]:
        """Keys of a KV group by tier."""
        self.index.check_integrity()
        dump = finish(self.index.dump(endpoint_id))
        return {t: frozenset(k.tolist()) for t, g, k in dump.parts if g == group}
