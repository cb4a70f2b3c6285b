"""Open loops of conversations."""

from tests.sim.workloads.offering import consume, offer


def test_each_rate_of_the_ladder_is_held_for_a_hundred_seconds() -> None:
    """One measured stage a rate."""
    stages = list(offer("latency-b").stages)

    assert [stage.label for stage in stages][:3] == ["5/s", "10/s", "15/s"]
    assert all(stage.is_measured for stage in stages)
    assert 95 < max(turn.at_s for s in stages[0].sessions for turn in s.turns) < 100


def test_users_come_back_with_what_they_said_before() -> None:
    """750 users with 2,000 requests have several turns each."""
    ((_, sessions),) = consume("latency-c", rate_per_s=20.0)
    turns = [len(session.turns) for session in sessions]

    assert 2 < sum(turns) / len(turns) < 4
    assert max(turns) > 5


def test_groups_scale_with_the_fleet() -> None:
    """A fleet of 100 has ten times the published groups."""
    ((_, sessions),) = consume("latency-a", pods=100, rate_per_s=50.0)

    assert len({session.context for session in sessions}) == 60
