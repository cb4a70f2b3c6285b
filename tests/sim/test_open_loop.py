"""Stages at a rate."""

from collections.abc import Iterator

import numpy as np

from sim.offered import Session
from sim.open_loop import Point, open_loop, points_of
from sim.workload import Knobs


def test_knobs_replace_the_rates_and_the_time_at_each() -> None:
    """Either alone or both."""
    assert points_of(Knobs(pods=1), (1, 2), 9) == (Point(1, 9), Point(2, 9))
    assert points_of(Knobs(pods=1, rate_per_s=5), (1, 2), 9) == (Point(5, 9),)
    assert points_of(Knobs(pods=1, duration_s=3), (1, 2), 9) == (Point(1, 3), Point(2, 3))


def test_each_point_is_a_stage_with_its_own_number_and_randomness() -> None:
    """A warm-up is one that is not measured."""
    drawn: dict[int, float] = {}

    def sessions(stage: int, point: Point, rng: np.random.Generator) -> Iterator[Session]:
        drawn[stage] = rng.random()
        return iter(())

    points = (Point(15, 50, is_measured=False), Point(0.5, 9), Point(60, 9))
    stages = list(open_loop(points, sessions, np.random.default_rng(1)))

    assert [stage.label for stage in stages] == ["warm-up", "0.5/s", "60/s"]
    assert [stage.is_measured for stage in stages] == [False, True, True]
    assert [stage.offered_per_s for stage in stages] == [15, 0.5, 60]
    assert len(set(drawn.values())) == 3
