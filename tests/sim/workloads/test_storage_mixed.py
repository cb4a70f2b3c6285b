"""The mixed load of the storage post."""

from tests.sim.workloads.offering import consume, question_tokens, turns_of


def test_every_users_system_prompt_was_seen_before_it_is_measured() -> None:
    """Warm-ups send only those of users that join."""
    seen: set[object] = set()
    for stage, sessions in consume("storage-mixed"):
        systems = {session.context for session in sessions}
        if stage.is_measured:
            assert systems <= seen
        else:
            assert len(systems) == len(sessions)
            assert not systems & seen
            seen |= systems

    assert len(seen) == 4000


def test_questions_are_new_and_lengths_are_those_published() -> None:
    """2,000 known tokens, 256 new ones, 256 of output, at 40/s."""
    stage, sessions = consume("storage-mixed", concurrency=100)[-1]
    turns = turns_of(sessions)

    assert stage.offered_per_s == 40
    assert {session.context[0].length_tokens for session in sessions} == {2000}
    assert {question_tokens(turn) for turn in turns} == {256}
    assert {turn.output_tokens for turn in turns} == {256}
    assert len({turn.question for turn in turns}) == len(turns)


def test_a_rate_replaces_forty_a_second() -> None:
    """User counts stay."""
    consumed = consume("storage-mixed", rate_per_s=10.0, duration_s=10.0)

    assert len(consumed) == 10
    assert {stage.offered_per_s for stage, _ in consumed} == {10}
