"""The `max-score` picker."""

import numpy as np
import pytest

from services.router.pickers.max_score import MaxScore
from tests.services.router.given import view


@pytest.mark.parametrize(
    ("totals", "draw", "position"),
    [
        ([3.0], 0.99, 0),
        ([1.0, 2.0, 1.9999], 0.99, 1),
        ([2.0, 1.0, 2.0], 0.0, 0),
        ([2.0, 1.0, 2.0], 0.5, 2),
        ([0.0, 0.0, 0.0, 0.0], 0.9999999, 3),
    ],
)
def test_the_best_wins_and_equals_are_drawn(
    totals: list[float], draw: float, position: int
) -> None:
    """A near miss never wins; exact ties are split by the draw."""
    pick = MaxScore()(view(draw=draw), np.array(totals))

    assert pick.position == position
    assert pick.reason == f"highest of {len(totals)}"
