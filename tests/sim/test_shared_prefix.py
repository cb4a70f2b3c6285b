"""Groups of users."""

import numpy as np

from sim.arrivals import poisson_times
from sim.lengths import Fixed
from sim.shared_prefix import Population, conversations, grouped, single_turns

POPULATION = Population("w", groups=3, users_per_group=4, system_tokens=50)


def test_users_of_a_group_share_its_system_prompt() -> None:
    """And no other group's."""
    systems = [POPULATION.system(user) for user in range(POPULATION.users)]

    assert [systems.index(system) for system in systems] == [0] * 4 + [4] * 4 + [8] * 4


def test_groups_scale_with_the_pods() -> None:
    """At least one stays, users per group do not change."""
    assert POPULATION.for_pods(20, 10).groups == 6
    assert POPULATION.for_pods(1, 10).groups == 1
    assert POPULATION.for_pods(20, 10).users == 24


def test_labels_are_grouped_in_the_order_of_their_first_position() -> None:
    """Positions within a group are in order."""
    labels = np.array([5, 2, 5, 9, 2, 2])

    assert [group.tolist() for group in grouped(labels)] == [[0, 2], [1, 4, 5], [3]]
    assert list(grouped(np.array([], np.int64))) == []


def test_requests_of_a_user_are_turns_of_one_conversation() -> None:
    """Each request of the arrivals is a turn of one session, with a question of its own."""
    times = poisson_times(10, 10, np.random.default_rng(2))
    sessions = list(
        conversations(POPULATION, Fixed(9), Fixed(3), times, 0, np.random.default_rng(1))
    )

    turns = [turn for session in sessions for turn in session.turns]
    assert len(sessions) == 12
    assert sorted(turn.at_s for turn in turns) == times.tolist()
    assert len({turn.question for turn in turns}) == times.size
    assert len({session.context for session in sessions}) == 3


def test_conversations_of_another_stage_have_other_questions() -> None:
    """So nothing but the system prompts is known from the stage before."""
    times = np.arange(20.0)
    questions = [
        {
            turn.question
            for session in conversations(
                POPULATION, Fixed(9), Fixed(3), times, stage, np.random.default_rng(1)
            )
            for turn in session.turns
        }
        for stage in (0, 1)
    ]

    assert not questions[0] & questions[1]


def test_single_turns_have_no_history() -> None:
    """One session a request, new questions on shared system prompts."""
    sessions = list(
        single_turns(POPULATION, Fixed(9), Fixed(3), np.arange(40.0), 0, np.random.default_rng(1))
    )

    assert [len(session.turns) for session in sessions] == [1] * 40
    assert len({session.turns[0].question for session in sessions}) == 40
    assert len({session.context for session in sessions}) == 3
