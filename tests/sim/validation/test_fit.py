"""Constants by replaying the calibration."""

import pytest

from sim.engine.spec import StepRates
from sim.validation.fit import fit, slowness
from sim.validation.replay import Constants
from tests.sim.validation.given import SIZES, TRUTH, calibration, slowed


def within(found: Constants, truth: Constants, share: float) -> None:
    """Per token, per step of one and of sixteen requests, and around a prompt of 500 tokens."""
    assert _seen(found) == pytest.approx(_seen(truth), rel=share)


def _seen(constants: Constants) -> tuple[float, ...]:
    rates = constants.rates
    return (
        rates.prefill_s_per_token,
        rates.attention_s_per_token_squared,
        rates.decode_s_per_context_token,
        rates.base_s + rates.decode_s_per_sequence,
        rates.base_s + 16 * rates.decode_s_per_sequence,
        constants.request_s + 500 * constants.request_s_per_token + constants.output_s,
    )


def test_the_constants_of_a_modelled_pod_are_found() -> None:
    """Two parts of a calibration, no noise."""
    found = fit([calibration(seed=1), calibration(seed=2)], SIZES)

    within(found, TRUTH, 0.05)


def test_requests_that_were_held_up_hardly_move_them() -> None:
    """One in eleven took twice as long."""
    found = fit([slowed(calibration(seed=4), every=11, factor=2)], SIZES)

    within(found, TRUTH, 0.15)


def test_a_slower_pod_gives_larger_constants() -> None:
    """Nothing of the result comes from the start values."""
    truth = Constants(StepRates(9e-3, 2e-4, 1e-7, 3e-4, 2e-6), 2e-2, 0.0, 3e-4)

    found = fit([calibration(seed=5, constants=truth)], SIZES)

    within(found, truth, 0.1)


def test_a_machine_that_was_slowed_down_shows_by_how_much() -> None:
    """Everything by the same factor."""
    found = slowness([calibration(seed=6, constants=TRUTH.slowed(1.3))], SIZES, TRUTH)

    assert found == pytest.approx(1.3, rel=0.03)
