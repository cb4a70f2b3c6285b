"""The production profile of the predicted-latency post."""

import numpy as np
import pytest

from sim.workloads.maas_production import OUTPUT, QUESTION
from tests.sim.workloads.offering import cacheable_share, consume, turns_of


def test_eight_stages_alternate_one_and_five_requests_a_second() -> None:
    """All are measured."""
    consumed = consume("maas-production")

    assert [stage.offered_per_s for stage, _ in consumed] == [1, 5] * 4
    assert all(stage.is_measured for stage, _ in consumed)
    assert 1300 < len(turns_of(consumed[1][1])) < 1700


def test_lengths_are_very_uneven_and_stay_below_the_published_maxima() -> None:
    """Clipping takes about an eighth off the published means."""
    rng = np.random.default_rng(1)
    questions = QUESTION.draw(1_000_000, rng)
    outputs = OUTPUT.draw(1_000_000, rng)

    assert (QUESTION.mean, QUESTION.deviation) == (729, 13_550)
    assert (OUTPUT.mean, OUTPUT.deviation) == (300, 2_213)
    assert questions.mean() == pytest.approx(0.88 * 729, rel=0.05)
    assert outputs.mean() == pytest.approx(0.86 * 300, rel=0.05)
    assert questions.max() == 131_072
    assert outputs.max() == 8_192


def test_about_94_percent_of_the_prompts_could_be_cached() -> None:
    """The published hit rate at the peak, on a sample large enough for its tail."""
    ((_, sessions),) = consume("maas-production", rate_per_s=100.0)

    assert cacheable_share(sessions) == pytest.approx(0.94, abs=0.015)
