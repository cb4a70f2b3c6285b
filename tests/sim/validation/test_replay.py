"""Recorded requests on the engine model."""

import pytest

from sim.validation.replay import replay, script_of
from tests.sim.validation.given import SIZES, TRUTH, asked

PROMPT = list(range(100, 740))


def test_a_request_that_is_alone_takes_the_sum_of_its_parts() -> None:
    """One step for the prompt and one for each further token."""
    (found,) = replay(script_of([asked(PROMPT, 3)]), SIZES, TRUTH)

    rates, n = TRUTH.rates, len(PROMPT)
    around_s = TRUTH.request_s + n * TRUTH.request_s_per_token
    step_s = rates.base_s + n * rates.prefill_s_per_token
    ttft_s = around_s + step_s + rates.attention_s_per_token_squared * n * n / 2
    assert found.ttft_s == pytest.approx(ttft_s + TRUTH.output_s, rel=1e-6)
    decode_s = found.e2e_s - found.ttft_s
    assert decode_s == pytest.approx(2 * (rates.base_s + rates.decode_s_per_sequence), rel=0.2)
    assert found.cached_tokens == 0


def test_a_prompt_that_came_before_is_cached_up_to_its_last_token() -> None:
    """Whole blocks of it, less the one that the last token is in."""
    script = script_of([asked(PROMPT, 1), asked(PROMPT, 1, sent_s=5.0)])

    _, again = replay(script, SIZES, TRUTH)

    assert again.cached_tokens == len(PROMPT) - SIZES.block_tokens


def test_an_answer_is_cached_for_the_turn_that_follows() -> None:
    """All of it but its last token, which the engine never computes."""
    first = asked(PROMPT, 33)
    second = asked(PROMPT + first.output + [7] * 40, 1, sent_s=5.0)

    _, followed = replay(script_of([first, second]), SIZES, TRUTH)

    assert followed.cached_tokens == len(PROMPT) + 32


def test_predictions_are_in_the_order_of_the_script() -> None:
    """Whichever request ends first."""
    long, short = asked(PROMPT, 60), asked([5] * 64, 2, sent_s=0.01)

    first, second = replay(script_of([long, short]), SIZES, TRUTH)

    assert first.e2e_s > 60 * TRUTH.rates.base_s > second.e2e_s


def test_times_do_not_depend_on_the_clock() -> None:
    """Only on the distances between requests."""
    early = replay(script_of([asked(PROMPT, 5)]), SIZES, TRUTH)
    late = replay(script_of([asked(PROMPT, 5, sent_s=1e5)]), SIZES, TRUTH)

    assert late[0].e2e_s == pytest.approx(early[0].e2e_s, rel=1e-6)
