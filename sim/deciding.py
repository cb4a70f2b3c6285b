"""What a simulated client asks for, and what it is told."""

from dataclasses import dataclass
from typing import Protocol

from farsight.keys import Keys, Tokens
from farsight.pb.router_pb2 import ReportEvent


@dataclass(frozen=True, slots=True)
class Ask:
    """One request as it reaches a router; only the oracle looks at keys and output length."""

    number: int
    model: str
    tokens: Tokens
    keys: Keys
    output_tokens: int
    session_id: str
    slo_ttft_ms: float | None
    slo_tpot_ms: float | None
    priority: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where the request goes: pods, best first, and what was predicted for each."""

    decision_id: str
    pods: tuple[int, ...]
    cached_tokens: tuple[int, ...]
    ttft_q50_ms: tuple[float, ...]


class Decider(Protocol):
    """Who routes: replicas of the real router, or the oracle."""

    async def decide(self, ask: Ask) -> Verdict | None:
        """Choose; None when no pod can serve."""
        ...

    def report(self, number: int, event: ReportEvent) -> None:
        """Hear what became of request `number`."""
        ...
