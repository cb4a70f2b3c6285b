"""Replay of an Azure trace."""

import pytest

from tests.sim.workloads.offering import cacheable_share, consume


def test_every_row_is_a_request_that_shares_nothing() -> None:
    """In the order of the trace, with its lengths."""
    ((stage, sessions),) = consume("azure")

    assert len(sessions) == 40
    assert sessions[0].turns[0].at_s == 0
    assert sessions[1].turns[0].question[0].length_tokens == 396
    assert cacheable_share(sessions) == 0
    assert stage.offered_per_s == pytest.approx(40 / sessions[-1].turns[0].at_s)


def test_scale_compresses_time() -> None:
    """The same requests at twice the rate."""
    ((plain, _),) = consume("azure")
    ((fast, sessions),) = consume("azure", scale=2.0)

    assert len(sessions) == 40
    assert fast.offered_per_s == pytest.approx(2 * plain.offered_per_s)


def test_a_duration_cuts_the_trace() -> None:
    """Requests after it are left out."""
    ((_, sessions),) = consume("azure", duration_s=6.0)

    assert 1 < len(sessions) < 40
    assert sessions[-1].turns[0].at_s < 6
