"""The `latency-headroom` scorer."""

import pytest

from services.router.scorers.latency_headroom import LatencyHeadroom
from tests.services.router.given import candidates, view

BUSY = [1.0, 1.0, 1.0]


def test_one_candidate_is_in_the_middle() -> None:
    """Without a spread the place is a half: 51 hundredths."""
    assert LatencyHeadroom()(view(), candidates(1)).tolist() == [0.51]


def test_without_targets_the_lowest_latency_is_best() -> None:
    """Headroom is minus the prediction; 0.8 of the place is TTFT's and 0.2 TPOT's."""
    seen = candidates(
        3, ttft_q50_ms=[100, 260, 500], tpot_q50_ms=[30, 10, 20], in_flight_requests=BUSY
    )

    # Distances from the best: 0.2 x 1, 0.8 x 0.4 and 0.8 x 1 + 0.2 x 0.5; 1 - 0.9 is below 0.1.
    assert LatencyHeadroom()(view(), seen).tolist() == [0.81, 0.69, 0.10]


def test_a_millisecond_is_worth_as_much_as_a_minute() -> None:
    """Min-max within the group, as the field has it."""
    close = candidates(2, ttft_q50_ms=[200, 201], in_flight_requests=[1, 1])
    apart = candidates(2, ttft_q50_ms=[200, 60_200], in_flight_requests=[1, 1])

    assert LatencyHeadroom()(view(), close).tolist() == [1, 0.01]
    assert LatencyHeadroom()(view(), apart).tolist() == [1, 0.01]


def test_a_dimension_without_a_spread_leaves_its_weight_to_the_other() -> None:
    """Equal TTFT: TPOT alone decides over the full range."""
    seen = candidates(2, tpot_q50_ms=[20, 10], in_flight_requests=[1, 1])

    assert LatencyHeadroom()(view(), seen).tolist() == [0.01, 1]


@pytest.mark.parametrize(("strategy", "scores"), [("least", [0.01, 1, 0]), ("most", [1, 0.01, 0])])
def test_where_targets_are_met_the_strategy_says_which_is_best(
    strategy: str, scores: list[float]
) -> None:
    """`least` fills up the endpoint that just meets 300 ms; who misses it has nothing."""
    made = LatencyHeadroom(strategy=strategy)  # type: ignore[arg-type] # one of two literals
    seen = candidates(3, ttft_q50_ms=[100, 290, 301], in_flight_requests=[1, 1, 0])

    assert made(view(slo_ttft_ms=300, slo_tpot_ms=50), seen).tolist() == scores


def test_a_target_that_is_just_met_is_met() -> None:
    """A headroom of 0 counts as met."""
    seen = candidates(2, ttft_q50_ms=[300, 301], in_flight_requests=[1, 0])

    assert LatencyHeadroom()(view(slo_ttft_ms=300, slo_tpot_ms=10), seen).tolist() == [0.51, 0]


@pytest.mark.parametrize(
    ("in_flight", "ttft_ms", "tpot_ms", "scored"),
    [
        ([0, 3, 0], [900, 400, 950], [60, 60, 60], {0, 2}),
        (BUSY, [200, 400, 250], [60, 10, 70], {0, 2}),
        (BUSY, [500, 400, 900], [60, 10, 70], {1}),
        (BUSY, [500, 400, 900], [60, 70, 80], {0, 1, 2}),
    ],
    ids=["idle ones", "those that miss TPOT alone", "those that miss TTFT alone", "everybody"],
)
def test_when_nobody_meets_both_targets_the_best_group_is_scored(
    in_flight: list[float], ttft_ms: list[float], tpot_ms: list[float], scored: set[int]
) -> None:
    """Targets of 300 and 50 ms; outside the group the score is 0, within it a hundredth or more."""
    seen = candidates(3, in_flight_requests=in_flight, ttft_q50_ms=ttft_ms, tpot_q50_ms=tpot_ms)

    scores = LatencyHeadroom()(view(slo_ttft_ms=300, slo_tpot_ms=50), seen)

    assert {i for i, score in enumerate(scores) if score > 0} == scored
    assert scores.max() <= 1


def test_the_least_deficit_is_best_even_with_strategy_most() -> None:
    """Far above the target is never room."""
    seen = candidates(2, ttft_q50_ms=[400, 900], in_flight_requests=[1, 1])

    scores = LatencyHeadroom(strategy="most")(view(slo_ttft_ms=300, slo_tpot_ms=50), seen)

    assert scores.tolist() == [1, 0.01]


@pytest.mark.parametrize(
    ("ttft_weight", "tpot_weight", "scores"),
    [(1.0, 0.0, [1, 0.01]), (0.0, 1.0, [0.01, 1]), (0.0, 0.0, [1, 0.01])],
    ids=["TTFT alone", "TPOT alone", "no weights: TTFT"],
)
def test_weights_are_shares(ttft_weight: float, tpot_weight: float, scores: list[float]) -> None:
    """Of one dimension alone, or of TTFT when there are none."""
    made = LatencyHeadroom(ttft_weight, tpot_weight)
    seen = candidates(2, ttft_q50_ms=[100, 200], tpot_q50_ms=[20, 10], in_flight_requests=[1, 1])

    assert made(view(), seen).tolist() == scores
