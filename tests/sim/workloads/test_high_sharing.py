"""High prefix sharing."""

from tests.sim.workloads.offering import cacheable_share, consume, question_tokens, turns_of


def test_requests_of_3000_tokens_share_most_of_their_prompt() -> None:
    """At 20/s this makes 60,000 tokens/s, as published."""
    _, sessions = consume("high-sharing", rate_per_s=20.0)[-1]
    turns = turns_of(sessions)
    own = sum(question_tokens(turn) + turn.output_tokens for turn in turns) / len(turns)

    assert len({session.context for session in sessions}) == 1
    assert 2950 < sessions[0].context[0].length_tokens + own < 3050
    assert 0.85 < cacheable_share(sessions) < 0.92
