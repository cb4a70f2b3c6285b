"""The gate."""

import pytest

from farsight.latency.fit import fit_latency
from farsight.latency.fitted import FittedModel
from farsight.latency.model import AnalyticModel
from farsight.latency.rates import DEFAULT_RATES
from farsight.latency.scores import score
from services.trainer.challenge import challenge
from tests.fakes.latency_samples import samples


def test_a_fit_beats_the_rates_it_started_from() -> None:
    """The first fit of a model is published."""
    outcome = challenge(samples(300, seed=1), DEFAULT_RATES, AnalyticModel(), 0.02)

    assert outcome.is_won
    assert outcome.challenger.pinball < outcome.champion.pinball


def test_a_worse_fit_is_kept_back() -> None:
    """A fit on a few samples does not replace a model of many."""
    champion = FittedModel(fit_latency(samples(8000, seed=2), DEFAULT_RATES))

    outcome = challenge(samples(60, seed=3), DEFAULT_RATES, champion, 0.02)

    assert not outcome.is_won


@pytest.mark.parametrize("count", [200, 1000])
def test_a_winner_is_calibrated_on_unseen_samples(count: int) -> None:
    """Its q90 covers about nine in ten of later samples."""
    outcome = challenge(samples(count, seed=4), DEFAULT_RATES, AnalyticModel(), 0.02)

    coverage = score(FittedModel(outcome.fit), samples(3000, seed=5)).ttft.coverage_q90
    assert 0.8 < coverage <= 1
