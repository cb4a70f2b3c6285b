"""The `slo-attainment` scorer."""

import numpy as np
import pytest

from services.router.scorers.slo_attainment import SloAttainment, probability_below
from tests.services.router.given import candidates, view


@pytest.mark.parametrize(
    ("target_ms", "probability"),
    [(100.0, 0.5), (150.0, 0.9), (1e-3, 0.0), (1e6, 1.0)],
    ids=["at the median", "at q90", "far below", "far above"],
)
def test_the_quantiles_are_met(target_ms: float, probability: float) -> None:
    """P(latency <= q50) is a half, P(latency <= q90) nine tenths."""
    found = probability_below(target_ms, np.array([100.0]), np.array([150.0]))

    assert found.tolist() == pytest.approx([probability], abs=1e-6)


def test_equal_quantiles_are_a_step() -> None:
    """No spread: just above the median is met, just below is not."""
    q = np.array([100.0])

    assert probability_below(110, q, q)[0] > 0.999
    assert probability_below(90, q, q)[0] < 0.001


def test_without_targets_everybody_attains() -> None:
    """1, whatever is predicted."""
    seen = candidates(2, ttft_q50_ms=[1, 1e9], ttft_q90_ms=[2, 2e9])

    assert SloAttainment()(view(), seen).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("ttft_ms", "tpot_ms", "expected"),
    [(100.0, None, [0.5, 0.5]), (None, 15.0, [0.9, 0.0]), (100.0, 15.0, [0.45, 0.0])],
    ids=["ttft alone", "tpot alone", "both"],
)
def test_a_missing_target_counts_as_met(
    ttft_ms: float | None, tpot_ms: float | None, expected: list[float]
) -> None:
    """The probabilities of the targets that are given are multiplied."""
    seen = candidates(2, tpot_q50_ms=[10, 1000], tpot_q90_ms=[15, 1500])

    scores = SloAttainment()(view(slo_ttft_ms=ttft_ms, slo_tpot_ms=tpot_ms), seen)

    assert scores.tolist() == pytest.approx(expected, abs=1e-6)
