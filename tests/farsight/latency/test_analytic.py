"""The analytic base."""

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st

from farsight.latency import analytic
from farsight.latency.features import FEATURE_COUNT, Feature, FeatureMatrix
from farsight.latency.model import AnalyticModel
from farsight.latency.rates import DEFAULT_RATES, rates_for
from tests.fakes.latency_samples import TRUE_RATES, requests


def test_the_formula_is_the_documented_one() -> None:
    """TTFT and TPOT of one row equal the formula worked out by hand."""
    row = np.zeros((1, FEATURE_COUNT), np.float32)
    row[0, Feature.PROMPT_TOKENS] = 3000
    row[0, Feature.UNCACHED_TOKENS] = 1000
    row[0, Feature.HOST_TOKENS] = 500
    row[0, Feature.STORAGE_TOKENS] = 200
    row[0, Feature.PREFILL_AHEAD_TOKENS] = 4000
    row[0, Feature.RUNNING_REQUESTS] = 10
    row[0, Feature.RESIDENT_TOKENS] = 50_000

    ttft_ms = analytic.ttft_ms(row, TRUE_RATES.ttft)
    tpot_ms = analytic.tpot_ms(row, TRUE_RATES.tpot)

    attention_ms = 2e-6 * 1000 * (2000 + 500)
    loads_ms = 0.02 * 500 + 0.1 * 200
    assert ttft_ms[0] == pytest.approx(12 + 0.06 * 5000 + attention_ms + loads_ms + 0.3 * 10)
    assert tpot_ms[0] == pytest.approx(9 + 0.1 * 10 + 4e-5 * 50_000)


@given(
    np_st.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.just(FEATURE_COUNT)),
        elements=st.floats(width=32),
    )
)
def test_any_input_gives_positive_finite_answers(matrix: FeatureMatrix) -> None:
    """NaN, infinities and negative numbers do not reach the answer."""
    answers = AnalyticModel().predict(matrix).stack()

    assert np.isfinite(answers).all()
    assert (answers > 0).all()


@pytest.mark.parametrize(
    "feature",
    [Feature.UNCACHED_TOKENS, Feature.PREFILL_AHEAD_TOKENS, Feature.RUNNING_REQUESTS],
)
def test_more_work_is_never_faster(feature: Feature) -> None:
    """TTFT does not fall when a load feature rises."""
    rows = requests(200, seed=3)
    more = rows.copy()
    more[:, feature] *= 1.5
    more[:, Feature.PROMPT_TOKENS] = np.maximum(
        more[:, Feature.PROMPT_TOKENS], more[:, Feature.UNCACHED_TOKENS]
    )

    before, after = AnalyticModel().predict(rows), AnalyticModel().predict(more)

    assert (after.ttft_q50_ms >= before.ttft_q50_ms).all()


def test_rates_come_by_label_or_default() -> None:
    """Labels are matched in any case, and every rate to start from is positive."""
    assert rates_for("H100") == rates_for("h100") != DEFAULT_RATES
    assert rates_for("unheard-of") is DEFAULT_RATES
    for label in ("h100", "cpu", ""):
        assert min(*astuple(rates_for(label).ttft), *astuple(rates_for(label).tpot)) > 0
