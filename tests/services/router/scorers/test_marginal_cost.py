"""The `marginal-cost` scorer."""

import numpy as np
import pytest

from services.router.scorers.marginal_cost import MarginalCost
from tests.services.router.given import candidates, view


def test_one_candidate_scores_1() -> None:
    """The cheapest of one."""
    assert MarginalCost()(view(), candidates(1)).tolist() == [1]


def test_own_latency_is_a_cost() -> None:
    """TTFT plus 100 expected tokens of TPOT: 1,100 ms against 2,200 ms."""
    seen = candidates(2, ttft_q50_ms=[100, 200], tpot_q50_ms=[10, 20], uncached_tokens=[0, 0])

    assert MarginalCost()(view(), seen).tolist() == pytest.approx([1, 0.5])


@pytest.mark.parametrize(("weight", "expected"), [(0.0, 1.0), (1.0, 0.5), (2.0, 1 / 3)])
def test_delaying_those_that_decode_is_a_cost(weight: float, expected: float) -> None:
    """1,000 uncached tokens at 0.1 ms delay each of 11 decodes by 100 ms."""
    seen = candidates(2, in_flight_decoding=[0, 11])

    scores = MarginalCost(harm_weight=weight)(view(), seen)

    assert scores.tolist() == pytest.approx([1, expected])


def test_a_cached_prompt_harms_nobody() -> None:
    """Where nothing must be computed, others that decode are not delayed."""
    seen = candidates(2, in_flight_decoding=[0, 11], uncached_tokens=[1000, 0])

    assert MarginalCost()(view(), seen).tolist() == [1, 1]


def test_what_the_engine_runs_counts_unless_its_report_is_missing() -> None:
    """Requests of other clients decode, too; a report of infinite age says nothing."""
    seen = candidates(3, running_requests=[0, 11, 11], load_age_ms=[100, 100, np.inf])

    assert MarginalCost()(view(), seen).tolist() == pytest.approx([1, 0.5, 1])
