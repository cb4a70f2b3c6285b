"""Scenario B of the predicted-latency post."""

import numpy as np
import pytest

from tests.sim.workloads.offering import consume, question_tokens, turns_of


def test_lengths_and_groups_are_those_published() -> None:
    """Long questions of many users on few prefixes."""
    ((_, sessions),) = consume("latency-b", rate_per_s=100.0, duration_s=300.0)
    turns = turns_of(sessions)
    questions = np.array([question_tokens(turn) for turn in turns])
    outputs = np.array([turn.output_tokens for turn in turns])

    assert len({session.context for session in sessions}) == 6
    assert 5700 < len(sessions) <= 6000
    assert {session.context[0].length_tokens for session in sessions} == {1000}
    assert questions.mean() == pytest.approx(3000, rel=0.02)
    assert questions.std() == pytest.approx(900, rel=0.05)
    assert outputs.mean() == pytest.approx(1000, rel=0.02)
    assert outputs.std() == pytest.approx(300, rel=0.05)
