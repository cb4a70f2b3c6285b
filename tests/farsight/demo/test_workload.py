"""The demo's workload is the same for the same seed, and shares prefixes by group."""

from farsight.demo.workload import WorkloadSpec, sessions

SPEC = WorkloadSpec(groups=3, users_per_group=2, turns=2, system_words=5, question_words=3)


def test_the_same_seed_gives_the_same_prompts() -> None:
    """Both phases of the demo send the same requests."""
    first, second = sessions(SPEC), sessions(SPEC)

    assert [s.name for s in first] == [s.name for s in second]
    assert [s.ask() for s in first] == [s.ask() for s in second]


def test_users_of_a_group_share_the_system_prompt_alone() -> None:
    """One system prompt per group, own questions per user."""
    made = sessions(SPEC)

    assert len(made) == 6
    assert len({s.messages[0]["content"] for s in made}) == 3
    assert len({question for s in made for question in s.questions}) == 12


def test_a_turn_appends_question_and_answer() -> None:
    """The second request carries the whole conversation, and then the session is done."""
    session = sessions(SPEC)[0]

    session.ask()
    session.answer("yes")
    second = session.ask()
    session.answer("no")

    assert [m["role"] for m in second["messages"]] == ["system", "user", "assistant", "user"]
    assert session.done
    assert SPEC.requests == 12
