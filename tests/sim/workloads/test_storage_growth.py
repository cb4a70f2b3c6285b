"""The growing users of the storage post."""

from tests.sim.workloads.offering import consume, question_tokens, turns_of


def test_users_grow_to_250_and_were_all_seen_before() -> None:
    """A warm-up sends the prompts of those that join, then all users send theirs."""
    consumed = consume("storage-growth")
    seen: set[object] = set()
    counts = []
    for stage, sessions in consumed:
        prompts = {(session.context, session.turns[0].question) for session in sessions}
        if stage.is_measured:
            assert prompts == seen
            counts.append(len(sessions))
        else:
            assert not prompts & seen
            seen |= prompts

    assert counts == [10, 25, 50, 100, 150, 200, 250]


def test_a_prompt_has_16000_tokens_and_asks_for_one() -> None:
    """Later requests of a user are two tokens longer each."""
    _, sessions = consume("storage-growth", concurrency=3)[-1]

    for session in sessions:
        assert session.context[0].length_tokens + question_tokens(session.turns[0]) == 16_000
        assert [question_tokens(turn) for turn in session.turns] == [1] * 6
    assert {turn.output_tokens for turn in turns_of(sessions)} == {1}
