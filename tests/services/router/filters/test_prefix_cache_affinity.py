"""The `prefix-cache-affinity` filter."""

import pytest

from services.router.filters.prefix_cache_affinity import PrefixCacheAffinity
from tests.services.router.given import candidates, view

# One token ahead is one millisecond of waiting.
FILTER = PrefixCacheAffinity(
    threshold=0.8, max_ttft_penalty_ms=1000, peak_prefill_tokens_per_s=1000
)


@pytest.mark.parametrize(
    ("cached", "ahead", "kept"),
    [
        ([0], [0], [True]),
        ([1000], [9999], [True]),
        ([0, 0], [0, 0], [True, True]),
        ([900, 900], [0, 5000], [True, True]),
        ([800, 799], [0, 0], [True, False]),
        ([900, 0], [1000, 0], [True, False]),
        ([900, 0], [1001, 0], [True, True]),
        ([900, 900, 0], [5000, 500, 0], [True, True, False]),
        ([900, 0, 0], [5000, 4500, 100], [True, True, True]),
    ],
    ids=[
        "one cold", "one warm", "all cold", "all warm", "at the threshold", "penalty just bearable",
        "penalty too high", "least loaded warm one counts", "least loaded cold one counts",
    ],
)  # fmt: skip
def test_it_keeps_the_warm_until_their_backlog_costs_too_much(
    cached: list[float], ahead: list[float], kept: list[bool]
) -> None:
    """Warm endpoints alone, or everybody where there is no choice or the penalty is too high."""
    seen = candidates(len(cached), cached_tokens=cached, in_flight_prefill_tokens=ahead)

    assert FILTER(view(prompt_tokens=1000), seen).tolist() == kept
