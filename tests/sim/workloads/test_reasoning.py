"""The reasoning workload."""

from collections import Counter

import numpy as np
import pytest

from tests.sim.workloads.offering import consume, offer, turns_of


def test_each_conversation_is_issued_three_times() -> None:
    """As many conversations as users; all share a system prompt of 250 tokens."""
    offered = offer("reasoning", concurrency=50)
    sessions = list(next(offered.stages).sessions)
    questions = Counter(turn.question[0] for turn in turns_of(sessions))

    assert offered.max_sessions == 50
    assert len(questions) == 50
    assert set(questions.values()) == {3}
    assert {question.length_tokens for question in questions} == {1_000}
    assert {(s.context[0].seed, s.context[0].length_tokens) for s in sessions} == {
        (sessions[0].context[0].seed, 250)
    }
    assert {len(session.turns) for session in sessions} == {1}


def test_outputs_are_long() -> None:
    """8,000 tokens on average, 32,000 at most."""
    ((_, sessions),) = consume("reasoning", concurrency=2000)
    outputs = np.array([turn.output_tokens for turn in turns_of(sessions)])

    assert outputs.mean() == pytest.approx(8_000, rel=0.03)
    assert outputs.max() == 32_000
