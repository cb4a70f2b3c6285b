"""Low prefix sharing."""

from tests.sim.workloads.offering import cacheable_share, consume


def test_almost_nothing_is_shared() -> None:
    """A cache without bounds would know 2 % of the prompts."""
    _, sessions = consume("low-sharing", rate_per_s=20.0)[-1]

    assert 0.01 < cacheable_share(sessions) < 0.03
