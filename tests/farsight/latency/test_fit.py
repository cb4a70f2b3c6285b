"""Whole fits on a fleet whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from farsight.latency.features import Feature, FeatureMatrix
from farsight.latency.fit import calibrated, fit_latency, split_newest
from farsight.latency.fitted import FittedModel
from farsight.latency.model import AnalyticModel
from farsight.latency.rates import DEFAULT_RATES
from farsight.latency.residual import TPOT_RISING, TTFT_RISING
from farsight.latency.scores import score
from tests.fakes.latency_samples import medians_ms, requests, samples


@pytest.fixture(scope="module")
def trained() -> FittedModel:
    """A model of 4,000 samples with prompts up to 8,000 tokens."""
    return FittedModel(fit_latency(samples(4000, seed=1), DEFAULT_RATES))


def test_medians_are_right_in_range(trained: FittedModel) -> None:
    """q50 is within 5 % of the true median on average, for both targets."""
    rows = requests(2000, seed=2)
    predicted = trained.predict(rows)

    for ours, true in zip(
        (predicted.ttft_q50_ms, predicted.tpot_q50_ms), medians_ms(rows), strict=True
    ):
        assert np.abs(ours / true - 1).mean() < 0.05


def test_prompts_eight_times_longer_are_predicted(trained: FittedModel) -> None:
    """Trained up to 8,000 tokens, the bias at 32,000 to 64,000 is within 15 %."""
    rows = requests(4000, seed=3, longest_prompt=64_000)
    rows = rows[rows[:, Feature.PROMPT_TOKENS] > 32_000]

    ratio = trained.predict(rows).ttft_q50_ms / medians_ms(rows)[0]

    assert abs(ratio.mean() - 1) < 0.15


def test_q90_covers_nine_in_ten(trained: FittedModel) -> None:
    """Coverage on new samples is 86 to 94 % for both targets."""
    scores = score(trained, samples(3000, seed=4))

    assert 0.86 < scores.ttft.coverage_q90 < 0.94
    assert 0.86 < scores.tpot.coverage_q90 < 0.94


def test_the_residual_beats_rates_alone(trained: FittedModel) -> None:
    """What the analytic form lacks is learned."""
    fresh = samples(2000, seed=5)

    assert (
        score(trained, fresh).pinball < 0.7 * score(AnalyticModel(trained.fit.rates), fresh).pinball
    )


@pytest.mark.parametrize("feature", TTFT_RISING)
def test_ttft_rises_with_load(trained: FittedModel, feature: Feature) -> None:
    """No candidate looks faster for having more load or work, all else equal."""
    less, more = ordered_pair(feature)

    assert (trained.predict(more).ttft_q50_ms >= trained.predict(less).ttft_q50_ms).all()


@pytest.mark.parametrize("feature", TPOT_RISING)
def test_tpot_rises_with_load(trained: FittedModel, feature: Feature) -> None:
    """The same for the time per output token."""
    less, more = ordered_pair(feature)

    assert (trained.predict(more).tpot_q50_ms >= trained.predict(less).tpot_q50_ms).all()


def ordered_pair(feature: Feature) -> tuple[FeatureMatrix, FeatureMatrix]:
    """Rows, and the same with more of one feature."""
    more = requests(1000, seed=6)
    less = more.copy()
    less[:, feature] *= 0.6
    return less, more


def test_any_input_gives_positive_finite_answers(trained: FittedModel) -> None:
    """NaN, infinities and negative numbers do not reach the answer, and q90 is at least q50."""
    rows = requests(6, seed=7)
    rows[0] = np.nan
    rows[1] = np.inf
    rows[2] = -np.inf
    rows[3] = np.finfo(np.float32).max

    predicted = trained.predict(rows)

    assert np.isfinite(predicted.stack()).all()
    assert (predicted.stack() > 0).all()
    assert (predicted.ttft_q90_ms >= predicted.ttft_q50_ms).all()
    assert (predicted.tpot_q90_ms >= predicted.tpot_q50_ms).all()


def test_no_tpot_labels_leave_the_prior() -> None:
    """Samples with one output token each fit TTFT and keep TPOT analytic."""
    known = samples(400, seed=8)

    fit = fit_latency(replace(known, tpot_ms=np.zeros(400)), DEFAULT_RATES)

    rows = requests(50, seed=9)
    assert fit.rates.tpot == DEFAULT_RATES.tpot
    assert np.allclose(
        FittedModel(fit).predict(rows).tpot_q50_ms, AnalyticModel().predict(rows).tpot_q50_ms
    )


@pytest.mark.parametrize("count", [1, 20, 150])
def test_few_samples_still_fit(count: int) -> None:
    """Any number of samples gives a model that is not worse than the prior."""
    fitted = FittedModel(fit_latency(samples(count, seed=10), DEFAULT_RATES))

    fresh = samples(500, seed=11)
    assert score(fitted, fresh).pinball <= score(AnalyticModel(), fresh).pinball


def test_calibration_follows_a_slowdown(trained: FittedModel) -> None:
    """Offsets taken after every endpoint became twice as slow bring coverage back."""
    slow = samples(600, seed=12, slowdown=2.0)

    shifted = FittedModel(calibrated(trained.fit, slow[:300]))

    assert score(trained, slow[300:]).ttft.coverage_q90 < 0.2
    assert score(shifted, slow[300:]).ttft.coverage_q90 > 0.8


def test_the_newest_samples_are_split_off_in_order() -> None:
    """The split keeps the order and takes a tenth."""
    known = samples(105, seed=13)

    older, newest = split_newest(known)

    assert (len(older), len(newest)) == (95, 10)
    assert np.array_equal(newest.ttft_ms, known.ttft_ms[95:])
