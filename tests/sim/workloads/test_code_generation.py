"""The code-generation workload."""

import numpy as np
import pytest

from tests.sim.workloads.offering import consume, offer, question_tokens, turns_of


def test_lengths_and_turns_are_those_published() -> None:
    """Means within sampling error, bounds kept."""
    ((_, sessions),) = consume("code-generation", concurrency=1000)
    systems = np.array([session.context[0].length_tokens for session in sessions])
    turns = np.array([len(session.turns) for session in sessions])
    inputs = np.array([question_tokens(turn) for turn in turns_of(sessions)])
    outputs = np.array([turn.output_tokens for turn in turns_of(sessions)])

    assert systems.mean() == pytest.approx(55_000, rel=0.03)
    assert (systems.min(), systems.max()) == (3_000, 100_000)
    assert turns.mean() == pytest.approx(6, rel=0.05)
    assert (turns.min(), turns.max()) == (2, turns.max())
    assert turns.max() <= 20
    assert inputs.mean() == pytest.approx(1_500, rel=0.03)
    assert 100 <= inputs.min() < inputs.max() <= 10_000
    assert outputs.mean() == pytest.approx(800, rel=0.03)
    assert 50 <= outputs.min() < outputs.max() <= 4_000


def test_conversations_share_nothing() -> None:
    """Each has a system prompt and questions of its own."""
    ((_, sessions),) = consume("code-generation")
    pieces = [session.context[0] for session in sessions]
    pieces += [turn.question[0] for turn in turns_of(sessions)]

    assert len({piece.seed for piece in pieces}) == len(pieces)


def test_as_many_conversations_are_active_as_there_are_users() -> None:
    """Each user has three, one after the other, from the start on."""
    offered = offer("code-generation", concurrency=20)
    (stage,) = offered.stages
    sessions = list(stage.sessions)

    assert offered.max_sessions == 20
    assert len(sessions) == 60
    assert {turn.at_s for turn in turns_of(sessions)} == {0.0}
    assert stage.offered_per_s == 0
