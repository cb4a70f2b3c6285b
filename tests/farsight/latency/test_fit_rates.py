"""Fitting the analytic rates."""

from dataclasses import astuple, replace

import numpy as np
import pytest

from farsight.latency import analytic
from farsight.latency.features import Feature
from farsight.latency.fit_rates import fit_rates
from farsight.latency.rates import DEFAULT_RATES, rates_for
from farsight.latency.training_set import TrainingSet
from tests.fakes.latency_samples import TRUE_RATES, requests


def exact(count: int, seed: int, noise: float = 0.05) -> TrainingSet:
    """Samples of a fleet that is exactly analytic."""
    rng = np.random.default_rng(seed)
    rows = requests(count, seed)
    return TrainingSet(
        rows,
        analytic.ttft_ms(rows, TRUE_RATES.ttft) * np.exp(rng.normal(0, noise, count)),
        analytic.tpot_ms(rows, TRUE_RATES.tpot) * np.exp(rng.normal(0, noise, count)),
    )


def test_true_rates_are_found() -> None:
    """The rates that matter are within 15 % after 2,000 noisy samples."""
    fitted = fit_rates(exact(2000, seed=1), DEFAULT_RATES)

    assert fitted.ttft.prefill_ms_per_token == pytest.approx(0.06, rel=0.15)
    assert fitted.ttft.ttft_base_ms == pytest.approx(12, rel=0.15)
    assert astuple(fitted.tpot) == pytest.approx(astuple(TRUE_RATES.tpot), rel=0.15)


def test_stalled_requests_do_not_move_the_rates() -> None:
    """One request in ten that takes twenty times as long leaves predictions within 10 %."""
    clean = exact(2000, seed=2)
    stalled = clean.ttft_ms.copy()
    stalled[::10] *= 20
    rows = clean.features

    fitted = fit_rates(replace(clean, ttft_ms=stalled), DEFAULT_RATES)

    ratio = analytic.ttft_ms(rows, fitted.ttft) / analytic.ttft_ms(rows, TRUE_RATES.ttft)
    assert np.abs(np.median(ratio) - 1) < 0.1


def test_rates_without_evidence_keep_the_prior_at_the_fleet_s_speed() -> None:
    """A tier that was never read gets its prior rate, scaled by how fast the fleet is overall."""
    known = exact(1000, seed=3)
    rows = known.features.copy()
    rows[:, Feature.STORAGE_TOKENS] = 0

    fitted = fit_rates(replace(known, features=rows), DEFAULT_RATES)

    speed = np.median(known.ttft_ms / analytic.ttft_ms(rows, DEFAULT_RATES.ttft))
    expected = DEFAULT_RATES.ttft.storage_load_ms_per_token * speed
    assert fitted.ttft.storage_load_ms_per_token == pytest.approx(expected, rel=0.01)


def test_no_samples_give_the_prior() -> None:
    """A target without a label keeps its rates."""
    nothing = TrainingSet(requests(5, seed=1), np.zeros(5), np.zeros(5))

    assert fit_rates(nothing, rates_for("cpu")) == rates_for("cpu")


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_samples_give_usable_rates(count: int) -> None:
    """Rates are never negative and predictions stay within a factor of three."""
    fitted = fit_rates(exact(count, seed=4), DEFAULT_RATES)

    rows = requests(500, seed=5)
    ratio = analytic.ttft_ms(rows, fitted.ttft) / analytic.ttft_ms(rows, TRUE_RATES.ttft)
    assert min(*astuple(fitted.ttft), *astuple(fitted.tpot)) >= 0
    assert 1 / 3 < np.median(ratio) < 3
