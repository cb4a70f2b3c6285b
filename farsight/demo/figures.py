"""The demo's figures, from what its clients saw."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from farsight.demo.senders import Sent

# A pod's KV events are published by its next scheduler step and reach the index in milliseconds.
SETTLE_S = 0.3


@dataclass(frozen=True, slots=True)
class PhaseFigures:
    """One profile's run over the workload."""

    requests: int
    failed: int
    cached_share: float
    ttft_p50_ms: float
    ttft_p90_ms: float


def phase_figures(sent: Sequence[Sent]) -> PhaseFigures:
    """Cached share as a ratio of sums; TTFT over the requests that did not fail."""
    good = [s for s in sent if not s.failed]
    prompt = sum(s.prompt_tokens for s in good)
    ttft = np.array([s.ttft_ms for s in good]) if good else np.zeros(1)
    return PhaseFigures(
        requests=len(sent),
        failed=len(sent) - len(good),
        cached_share=sum(s.cached_tokens for s in good) / max(prompt, 1),
        ttft_p50_ms=float(np.percentile(ttft, 50)),
        ttft_p90_ms=float(np.percentile(ttft, 90)),
    )


def settled(sent: Sequence[Sent]) -> list[Sent]:
    """Requests that began SETTLE_S after everything before them on their pod had ended."""
    found = []
    by_pod: dict[str, list[Sent]] = {}
    for request in sorted(sent, key=lambda s: s.started_s):
        earlier = by_pod.setdefault(request.endpoint_id, [])
        if all(other.ended_s + SETTLE_S <= request.started_s for other in earlier):
            found.append(request)
        earlier.append(request)
    return [request for request in found if not request.failed]


def exact_share(sent: Sequence[Sent]) -> tuple[float, int]:
    """Share of settled requests whose cached tokens were predicted exactly, and their number."""
    quiet = settled(sent)
    if not quiet:
        return 0.0, 0
    equal = sum(s.cached_tokens == s.cached_tokens_predicted for s in quiet)
    return equal / len(quiet), len(quiet)
