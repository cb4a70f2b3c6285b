"""The `active-requests` scorer."""

import pytest

from services.router.scorers.active_requests import ActiveRequests
from tests.services.router.given import candidates, view


def test_it_falls_with_the_requests_in_flight() -> None:
    """1 when idle, a half with one request."""
    scores = ActiveRequests()(view(), candidates(3, in_flight_requests=[0, 1, 9]))

    assert scores.tolist() == pytest.approx([1, 0.5, 0.1])
