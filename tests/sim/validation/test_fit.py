"""Constants by replaying the calibration."""

from dataclasses import astuple

import pytest

from sim.engine.spec import StepRates
from sim.validation.fit import fit
from sim.validation.replay import Constants
from tests.sim.validation.given import SIZES, TRUTH, calibration, slowed


def within(found: Constants, truth: Constants, share: float) -> None:
    """Step rates one by one; of a request's overhead what it adds to a prompt of 500 tokens."""
    assert astuple(found.rates) == pytest.approx(astuple(truth.rates), rel=share)
    assert _overhead_s(found) == pytest.approx(_overhead_s(truth), rel=share)


def _overhead_s(constants: Constants) -> float:
    return constants.request_s + 500 * constants.request_s_per_token + constants.output_s


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
