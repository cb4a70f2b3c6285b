"""The learned residual."""

import numpy as np
import pytest

from farsight.latency.analytic import Float64s
from farsight.latency.features import Feature
from farsight.latency.fitted import MAX_LOG_RATIO
from farsight.latency.residual import MIN_SAMPLES, TTFT_RISING, Rows, fit_residual
from tests.fakes.latency_samples import requests


def rows_with(log_ratio: Float64s, seed: int = 1) -> Rows:
    """Random rows with given labels."""
    return Rows(requests(len(log_ratio), seed), log_ratio)


@pytest.mark.parametrize("feature", TTFT_RISING)
def test_the_ratio_never_falls_with_load(feature: Feature) -> None:
    """Even samples that say the opposite do not teach the trees to prefer a busier endpoint."""
    features = requests(600, seed=1)
    column = features[:, feature]
    rows = Rows(features, -(column / (column.max() or 1)).astype(np.float64))
    booster = fit_residual(rows, rows_with(rows.log_ratio[:60], seed=2), TTFT_RISING)
    assert booster is not None
    low, high = features.copy(), features.copy()
    low[:, feature] *= 0.5

    gain = np.asarray(booster.predict(high)) - np.asarray(booster.predict(low))
    assert (gain >= -1e-12).all()


def test_too_few_samples_grow_no_trees() -> None:
    """Below MIN_SAMPLES, or without newer samples to stop on, there is no residual."""
    few = rows_with(np.ones(MIN_SAMPLES - 1))
    enough = rows_with(np.ones(MIN_SAMPLES))

    assert fit_residual(few, enough, ()) is None
    assert fit_residual(enough, rows_with(np.ones(0)), ()) is None


def test_growth_stops_when_newer_samples_disagree() -> None:
    """Noise is not learned: trees on labels without a pattern stop early."""
    rng = np.random.default_rng(1)

    booster = fit_residual(
        rows_with(rng.normal(0, 0.3, 500)), rows_with(rng.normal(0, 0.3, 100), seed=2), ()
    )

    assert booster is not None
    assert booster.best_iteration < 20


def test_wild_labels_are_bounded() -> None:
    """A request that took a thousand times the analytic value counts as MAX_LOG_RATIO."""
    rows = Rows.of(requests(2, seed=1), np.array([1e6, 1e-3]), np.array([1.0, 1.0]))

    assert rows.log_ratio.tolist() == [MAX_LOG_RATIO, -MAX_LOG_RATIO]
