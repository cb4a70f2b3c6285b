"""Intervals over seeds, regret against the oracle, and the knee."""

from dataclasses import replace

import numpy as np
import pytest

from sim.cells import CellResult
from sim.figures import Latency
from sim.intervals import (
    Interval,
    Knee,
    LadderPoint,
    interval,
    knee,
    lowest_ttft_p90_s,
    points_of_cells,
    points_of_stages,
    regret,
)
from tests.fakes.cell_results import cell, figures, ladder_cell


def test_an_interval_is_that_of_student() -> None:
    """Of 1, 2 and 3: t(0.975, 2) = 4.3027, and the standard error is 1 / sqrt(3)."""
    known = interval([1.0, 2.0, 3.0])

    assert known is not None
    assert known.mean == 2
    assert known.half_width == pytest.approx(4.30265 / 3**0.5, rel=1e-5)
    assert (known.low, known.high) == pytest.approx((-0.48414, 4.48414), rel=1e-4)


def test_95_of_100_intervals_hold_the_true_mean() -> None:
    """Five seeds each of a known distribution."""
    rng = np.random.default_rng(7)

    intervals = [interval(rng.normal(10.0, 3.0, 5).tolist()) for _ in range(2000)]

    held = [i is not None and i.low <= 10.0 <= i.high for i in intervals]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


def test_one_seed_says_nothing_of_the_spread() -> None:
    """And what is unknown is no sample."""
    assert interval([None, 4.0]) == Interval(4.0, None)
    assert interval([None]) is None
    assert interval([]) is None


def timed(policy: str, seed: int, mean_s: float, rate: float = 10.0) -> CellResult:
    """A cell whose TTFT, e2e and NTPOT have the same mean."""
    same = Latency(mean_s=mean_s)
    overall = replace(figures(per_s=rate), ttft=same, e2e=same, ntpot=same)
    return cell(policy, seed=seed, rate=rate, overall=overall)


def test_regret_pairs_cells_by_seed() -> None:
    """Twice and three times as slow as the oracle; a hard seed is hard for both."""
    oracle = [timed("oracle", 1, 1.0), timed("oracle", 2, 100.0)]
    policy = [timed("random", 2, 300.0), timed("random", 1, 2.0)]

    found = regret(policy, oracle)

    assert found.ttft is not None
    assert found.ttft.mean == pytest.approx(2.5)
    assert found.ttft.half_width == pytest.approx(12.7062 * 0.5, rel=1e-5)
    assert found.e2e == found.ntpot == found.ttft


def test_a_seeds_regret_is_the_geometric_mean_of_its_rates() -> None:
    """2 at one rate and 8 at the other are 4, also when one of them takes far longer."""
    oracle = [timed("oracle", 1, 1.0, rate=5.0), timed("oracle", 1, 1000.0, rate=60.0)]
    policy = [timed("random", 1, 2.0, rate=5.0), timed("random", 1, 8000.0, rate=60.0)]

    found = regret(policy, oracle)

    assert found.ttft is not None
    assert found.ttft.mean == pytest.approx(4.0)


def test_cells_that_differ_by_more_than_the_policy_are_no_pair() -> None:
    """Another rate, pod count, workload or setting has another oracle."""
    policy = [cell("random")]
    others = [
        cell("oracle", rate=11.0),
        cell("oracle", pods=9),
        cell("oracle", workload="A"),
        cell("oracle", settings=(("reports", "late"),)),
    ]

    assert regret(policy, others).ttft is None
    assert regret(policy, [*others, cell("oracle")]).ttft == Interval(1.0, None)


def test_a_cell_without_a_latency_is_no_pair() -> None:
    """Nothing completed in it."""
    nothing = replace(figures(), ttft=Latency())

    found = regret([cell("random", overall=nothing)], [cell("oracle")])

    assert found.ttft is None
    assert found.e2e is not None


def ladder(*ttft_p90s_s: float) -> list[LadderPoint]:
    """Loads 10, 20, 30 and so on."""
    return [LadderPoint(10.0 * (i + 1), 1.0, ttft) for i, ttft in enumerate(ttft_p90s_s)]


@pytest.mark.parametrize(
    ("ttft_p90s_s", "expected"),
    [
        ((0.2, 1.9, 2.0, 2.1), Knee(30.0, False)),
        ((1.0, 4.0, 5.0, 5.1), Knee(30.0, False)),
        ((0.2, 9.0, 0.5, 0.5), Knee(10.0, False)),
        ((0.2, 0.3, 0.4), Knee(30.0, True)),
        ((30.0,), Knee(10.0, True)),
    ],
)
def test_the_knee_is_the_last_load_before_ttft_runs_away(
    ttft_p90s_s: tuple[float, ...], expected: Knee
) -> None:
    """Past 2 s or five times the idle one, whichever is more; a later recovery does not count."""
    assert knee(ladder(*ttft_p90s_s)) == expected
    assert knee(reversed(ladder(*ttft_p90s_s))) == expected


def test_failures_bound_the_knee_too() -> None:
    """One in a hundred may fail; a point where nothing came back sustains nothing."""
    points = ladder(0.2, 0.2, 0.2)

    assert knee([points[0], replace(points[1], success_share=0.99)]) == Knee(20.0, True)
    assert knee([points[0], replace(points[1], success_share=0.98)]) == Knee(10.0, False)
    assert knee([replace(points[0], success_share=0.5), *points[1:]]) == Knee(0.0, False)
    assert knee([points[0], replace(points[1], ttft_p90_s=None)]) == Knee(10.0, False)
    assert knee([LadderPoint(10.0, None, None)]) == Knee(0.0, False)


def test_a_ladder_that_begins_beyond_its_knee_is_seen_from_another_policy() -> None:
    """Its own lowest TTFT would excuse all that follows."""
    overloaded = ladder(8.0, 9.0, 30.0)

    assert knee(overloaded) == Knee(30.0, True)
    assert knee(overloaded, idle_ttft_p90_s=0.1) == Knee(0.0, False)
    assert knee(overloaded, idle_ttft_p90_s=2.0) == Knee(20.0, False)
    assert lowest_ttft_p90_s(reversed(overloaded)) == 8.0
    assert lowest_ttft_p90_s([LadderPoint(10.0, None, None)]) is None


def test_the_bounds_of_the_knee_can_be_chosen() -> None:
    """Stricter on both, and laxer on success."""
    points = ladder(0.2, 0.3, 0.9)

    assert knee(points, ttft_floor_s=0.1, ttft_factor=2.0) == Knee(20.0, False)
    assert knee([replace(points[0], success_share=0.9)], min_success_share=0.9) == Knee(10.0, True)


def test_a_load_that_was_tried_twice_is_sustained_if_it_always_was() -> None:
    """As in a profile that alternates between two rates."""
    tries = [LadderPoint(1.0, 1.0, 0.2), LadderPoint(5.0, 1.0, 0.4)] * 2

    assert knee(tries) == Knee(5.0, True)
    assert knee([*tries, LadderPoint(5.0, 1.0, 7.0)]) == Knee(1.0, False)


def test_no_ladder_has_no_knee() -> None:
    """A cell whose load is neither a rate nor a concurrency, and a closed loop's stage."""
    closed = ladder_cell("random", 1, {0.0: 0.2})

    assert knee(points_of_cells([cell(rate=None)])) is None
    assert knee(points_of_stages(closed)) is None


def test_stages_and_cells_make_the_same_ladder() -> None:
    """TTFT p90 is twice the mean of these figures: 3 s at 20/s."""
    ttfts_s = {10.0: 0.2, 20.0: 1.5, 5.0: 0.2}

    staged = points_of_stages(ladder_cell("random", 1, ttfts_s))
    cells = points_of_cells(
        cell("random", rate=rate, overall=figures(ttft_s)) for rate, ttft_s in ttfts_s.items()
    )

    assert staged == cells
    assert knee(staged) == Knee(10.0, False)


def test_concurrency_makes_a_ladder() -> None:
    """Loads are then users."""
    cells = [cell(rate=None, concurrency=users) for users in (10, 20)]

    assert knee(points_of_cells(cells)) == Knee(20.0, True)
