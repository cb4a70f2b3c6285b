"""The `available` filter."""

import pytest

from services.router.filters.available import Available
from tests.services.router.given import candidates, view


@pytest.mark.parametrize("inhibited", [[0], [1], [0, 1, 0], [1, 1]])
def test_it_keeps_those_that_did_not_fail(inhibited: list[int]) -> None:
    """Inhibited endpoints go, all others stay."""
    kept = Available()(view(), candidates(len(inhibited), inhibited=inhibited))

    assert kept.tolist() == [not flag for flag in inhibited]
