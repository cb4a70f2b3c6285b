"""Scores of predictions."""

from dataclasses import replace

import numpy as np
import pytest

from farsight.latency.model import AnalyticModel
from farsight.latency.scores import pinball, score
from tests.fakes.latency_samples import TRUE_RATES, samples


def test_pinball_weighs_both_sides_by_the_level() -> None:
    """At 0.9, one too low costs nine times one too high."""
    actual = np.array([1.0])

    assert pinball(actual, np.array([0.0]), 0.9) == pytest.approx(0.9)
    assert pinball(actual, np.array([2.0]), 0.9) == pytest.approx(0.1)


def test_a_better_model_scores_better() -> None:
    """The true rates beat the default ones on every target."""
    known = samples(500, seed=1)

    good, bad = score(AnalyticModel(TRUE_RATES), known), score(AnalyticModel(), known)

    assert good.ttft.pinball < bad.ttft.pinball
    assert good.tpot.mape < bad.tpot.mape
    assert good.pinball < bad.pinball


def test_a_target_without_labels_scores_nothing() -> None:
    """Outputs of one token leave TPOT out of the sum."""
    known = samples(500, seed=1)

    scores = score(AnalyticModel(), replace(known, tpot_ms=np.zeros(500)))

    assert scores.tpot.samples == 0
    assert scores.pinball == scores.ttft.pinball
