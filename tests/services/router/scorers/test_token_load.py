"""The `token-load` scorer."""

import pytest

from services.router.scorers.token_load import TokenLoad
from tests.services.router.given import candidates, view


def test_it_falls_with_tokens_ahead_and_own_ones() -> None:
    """Linear down to 0 at the capacity, never below."""
    seen = candidates(
        4,
        in_flight_prefill_tokens=[0, 1000, 3000, 90_000],
        uncached_tokens=[0, 1000, 1000, 1000],
    )

    assert TokenLoad(capacity_tokens=4000)(view(), seen).tolist() == pytest.approx([1, 0.5, 0, 0])
