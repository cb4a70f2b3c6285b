"""The chat workload."""

import numpy as np
import pytest

from tests.sim.workloads.offering import cacheable_share, consume, question_tokens, turns_of


def test_lengths_are_those_known_of_sharegpt() -> None:
    """Means of 161 and 338 tokens, with medians well below."""
    ((_, sessions),) = consume("chat", rate_per_s=100.0)
    questions = np.array([question_tokens(turn) for turn in turns_of(sessions)])
    answers = np.array([turn.output_tokens for turn in turns_of(sessions)])

    assert questions.mean() == pytest.approx(161, rel=0.05)
    assert answers.mean() == pytest.approx(338, rel=0.05)
    assert np.median(questions) < 0.7 * questions.mean()


def test_conversations_have_a_few_turns_and_share_nothing_else() -> None:
    """A history is all that a cache can know; where it begins, nothing is known."""
    ((_, sessions),) = consume("chat", rate_per_s=40.0)
    turns = [len(session.turns) for session in sessions]

    assert 2.3 < sum(turns) / len(turns) < 3
    assert max(turns) <= 12
    assert turns.count(1) > 0.25 * len(turns)
    assert {session.context for session in sessions} == {()}
    assert len({session.turns[0].question for session in sessions}) == len(sessions)
    assert 0.5 < cacheable_share(sessions) < 0.85
