"""Errors of predictions."""

from dataclasses import replace

import numpy as np
import pytest

from sim.validation.compare import (
    Comparison,
    Figure,
    Verdict,
    cached_tokens_equal,
    figures_of,
    judge,
    repeated_share,
)
from sim.validation.records import Machine, Observation, Pass, Recording
from sim.validation.replay import Predicted, replay, script_of
from sim.validation.workload import conversations
from tests.sim.validation.given import SIZES, TRUTH, answered, asked, calibration

QUIET = Machine(1.0, 2, 0.0, 0.0)


def one_pass(error: float, equal: int) -> Comparison:
    """A pass in which everything takes longer than predicted."""
    names = ("ttft_p50", "ttft_p90", "e2e_p50", "e2e_p90")
    return Comparison(1.0, QUIET, {n: Figure(1.0, 1 - error) for n in names}, 10, equal)


def observed(ttft_s: float, e2e_s: float, cached_tokens: int) -> Observation:
    """A request of two tokens."""
    return Observation("", 3.0, [1], [2, 3], [3 + ttft_s, 3 + e2e_s], cached_tokens)


def test_an_error_is_relative_and_has_no_sign() -> None:
    """Too fast is as wrong as too slow."""
    assert Figure(2.0, 1.5).error == pytest.approx(0.25)
    assert Figure(2.0, 2.5).error == pytest.approx(0.25)


def test_quantiles_are_of_all_requests() -> None:
    """Measured and predicted each by itself."""
    measured = [observed(i / 10, i, 0) for i in range(1, 102)]
    predicted = [Predicted(2 * i / 10, 2 * i, 0, 0) for i in range(1, 102)]

    figures = figures_of(measured, predicted)

    assert figures["ttft_p50"].measured_s == pytest.approx(5.1)
    assert figures["ttft_p90"].predicted_s == pytest.approx(18.2)
    assert figures["e2e_p50"].predicted_s == pytest.approx(102)
    assert figures["e2e_p90"].error == pytest.approx(1.0)


def test_cached_tokens_count_when_they_are_exactly_equal() -> None:
    """One block off is off."""
    measured = [observed(1, 2, tokens) for tokens in (0, 32, 64)]
    predicted = [Predicted(1, 2, tokens, 0) for tokens in (0, 64, 64)]

    assert cached_tokens_equal(measured, predicted) == 2


def test_the_verdict_is_the_median_pass() -> None:
    """One pass that a neighbour disturbed does not decide; cached tokens are of all requests."""
    verdict = Verdict(TRUTH, (one_pass(0.1, 10), one_pass(0.9, 8), one_pass(0.2, 10)), 1.0)

    assert verdict.error("ttft_p50") == pytest.approx(0.2)
    assert verdict.cached_tokens_equal_share == pytest.approx(28 / 30)


def test_a_pod_repeats_itself_where_all_passes_agree() -> None:
    """Requests are the same by their labels, whatever their order."""

    def workload(**cached_tokens: int) -> list[Observation]:
        return [replace(observed(1, 2, n), label=label) for label, n in cached_tokens.items()]

    passes = [workload(a=0, b=32, c=64), workload(b=32, a=0, c=96)]

    assert repeated_share(passes) == pytest.approx(2 / 3)


def test_a_modelled_pod_is_predicted_from_its_calibration() -> None:
    """Times within 2 %, and every cached token, with the workload evicting."""
    turns = conversations(np.random.default_rng(3))
    asked_for: list[Observation] = []
    for turn in turns:
        before = asked_for[turn.follows] if turn.follows is not None else None
        prompt = before.prompt + before.output + turn.tokens if before else turn.tokens
        asked_for.append(asked(prompt, turn.output_tokens, turn.at_s))
    found = replay(script_of(asked_for), SIZES, TRUTH)
    workload = [answered(a, f) for a, f in zip(asked_for, found, strict=True)]

    verdict = judge(Recording(SIZES, [Pass([calibration(seed=1)], workload, QUIET)]))

    assert max(figure.error for figure in verdict.passes[0].figures.values()) < 0.02
    assert verdict.cached_tokens_equal_share > 0.98
    written = sum(len(w.prompt) - w.cached_tokens for w in workload)
    assert written > 2 * SIZES.usable_blocks * SIZES.block_tokens
