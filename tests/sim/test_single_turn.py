"""Open loops of requests without a history."""

from tests.sim.workloads.offering import consume, offer


def test_rates_rise_to_twenty_a_second() -> None:
    """One measured stage of a minute a rate."""
    stages = list(offer("low-sharing").stages)

    assert [stage.offered_per_s for stage in stages] == [2, 5, 10, 15, 20]
    assert 55 < max(session.turns[0].at_s for session in stages[-1].sessions) < 60


def test_a_duration_replaces_the_minute_at_each_rate() -> None:
    """Rates stay."""
    consumed = consume("low-sharing", duration_s=5.0)

    assert len(consumed) == 5
    assert all(session.turns[0].at_s < 5 for _, sessions in consumed for session in sessions)
