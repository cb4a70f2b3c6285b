"""Constants in closed form."""

import pytest

from sim.validation.estimate import decode_rows, estimate, prefill_rows
from sim.validation.probes import PREFILL
from tests.sim.validation.given import SIZES, TRUTH, asked, calibration, slowed


def test_a_prompt_above_the_budget_takes_two_steps() -> None:
    """Its second chunk attends to the first."""
    request = asked(list(range(2500)), 1, label=PREFILL)

    ((row, _),) = prefill_rows([request], SIZES)

    new, second = SIZES.max_batched_tokens, 2500 - SIZES.max_batched_tokens
    pairs = new * new / 2 + second * (new + second / 2)
    assert row.tolist() == [1, 2500, 2, 2500, pairs, 0, 0]


def test_only_probes_of_a_kind_make_its_rows() -> None:
    """Mixed timelines have no closed form."""
    mixed = [asked([1] * 100, 8)]

    assert not list(prefill_rows(mixed, SIZES))
    assert not list(decode_rows(mixed))


def test_prefill_constants_of_a_modelled_pod_are_found() -> None:
    """Although one request in nine was held up."""
    found = estimate(slowed(calibration(seed=3), every=9, factor=3), SIZES)

    assert found.rates.prefill_s_per_token == pytest.approx(
        TRUTH.rates.prefill_s_per_token, rel=0.1
    )
    assert found.rates.attention_s_per_token_squared == pytest.approx(
        TRUTH.rates.attention_s_per_token_squared, rel=0.1
    )
