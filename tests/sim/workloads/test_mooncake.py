"""Replay of a Mooncake trace."""

import pytest

from tests.sim.workloads.offering import cacheable_share, consume, question_tokens


def test_every_row_is_a_request_that_shares_what_the_trace_says() -> None:
    """All 40 prompts of the excerpt begin with the same block and share no other."""
    ((stage, sessions),) = consume("mooncake")
    tokens = sum(question_tokens(session.turns[0]) for session in sessions)

    assert len(sessions) == 40
    assert {len(session.turns) for session in sessions} == {1}
    assert len({session.turns[0].question[0] for session in sessions}) == 1
    assert cacheable_share(sessions) == pytest.approx(39 * 512 / tokens)
    assert stage.is_measured


def test_requests_are_spread_inside_the_ticks_of_the_trace() -> None:
    """The excerpt has 40 requests at 5 times; its last tick ends before 15 s."""
    ((_, sessions),) = consume("mooncake")
    times_s = [session.turns[0].at_s for session in sessions]

    assert len(set(times_s)) == 40
    assert times_s[0] == 0
    assert 9 < times_s[-1] < 15


def test_a_rate_stretches_or_compresses_the_trace() -> None:
    """The mean rate of the replay is the one asked for."""
    ((stage, sessions),) = consume("mooncake", rate_per_s=0.5)

    assert stage.offered_per_s == pytest.approx(0.5)
    assert sessions[-1].turns[0].at_s == pytest.approx(80)
