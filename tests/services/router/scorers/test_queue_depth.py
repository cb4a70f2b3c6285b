"""The `queue-depth` scorer."""

import pytest

from services.router.scorers.queue_depth import QueueDepth
from tests.services.router.given import candidates, view


@pytest.mark.parametrize(
    ("waiting", "scores"),
    [
        ([7], [1]),
        ([0, 0, 0], [1, 1, 1]),
        ([5, 5], [1, 1]),
        ([0, 1], [1, 0]),
        ([2, 6, 10], [1, 0.5, 0]),
        ([1000, 1001, 1000], [1, 0, 1]),
    ],
    ids=["one", "all empty", "all equal", "a small gap", "in between", "a small gap far up"],
)
def test_it_is_the_place_between_longest_and_shortest_queue(
    waiting: list[float], scores: list[float]
) -> None:
    """Min-max, inverted: one request more is as bad as a hundred when nobody has more."""
    seen = candidates(len(waiting), waiting_requests=waiting)

    assert QueueDepth()(view(), seen).tolist() == pytest.approx(scores)
