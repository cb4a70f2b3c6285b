"""The demo's figures from what its clients saw."""

from dataclasses import replace

import pytest

from farsight.demo.figures import exact_share, phase_figures, settled
from farsight.demo.senders import Sent

REQUEST = Sent(
    session="0-0",
    endpoint_id="pod-0",
    text="x",
    failed="",
    started_s=0.0,
    ended_s=1.0,
    ttft_ms=100.0,
    prompt_tokens=1000,
    cached_tokens=500,
    cached_tokens_predicted=500,
)


def test_cached_share_is_a_ratio_of_sums_over_served_requests() -> None:
    """A failed request counts as failed and nowhere else."""
    failed = replace(REQUEST, failed="503", prompt_tokens=0, ttft_ms=0)
    large = replace(REQUEST, prompt_tokens=3000, cached_tokens=0, ttft_ms=300)

    figures = phase_figures([REQUEST, large, failed])

    assert (figures.requests, figures.failed) == (3, 1)
    assert figures.cached_share == 0.125
    assert figures.ttft_p50_ms == 200


@pytest.mark.parametrize(
    ("started_s", "endpoint_id", "is_settled"),
    [(1.5, "pod-0", True), (1.1, "pod-0", False), (0.5, "pod-0", False), (0.5, "pod-1", True)],
    ids=["after it settled", "too soon", "while it runs", "on another pod"],
)
def test_settled_requests_follow_a_quiet_pod(
    started_s: float, endpoint_id: str, is_settled: bool
) -> None:
    """A request counts when everything before it on its pod ended a while ago."""
    second = replace(REQUEST, started_s=started_s, ended_s=9.0, endpoint_id=endpoint_id)

    assert (second in settled([REQUEST, second])) is is_settled


def test_the_exact_share_counts_equal_predictions() -> None:
    """Predicted and reported cached tokens are compared, request by request."""
    wrong = replace(REQUEST, endpoint_id="pod-1", cached_tokens_predicted=480)

    assert exact_share([REQUEST, wrong]) == (0.5, 2)
    assert exact_share([]) == (0.0, 0)
