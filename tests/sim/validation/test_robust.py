"""Robust least squares."""

import numpy as np
import pytest

from sim.validation.robust import robust_nnls


def test_factors_of_an_exact_system_are_found() -> None:
    """Whatever the sizes of the columns, one that is zero included."""
    rng = np.random.default_rng(1)
    terms = rng.uniform(1, 100, (200, 3)) * [1, 1e-3, 1e3]
    target = terms @ np.array([2.0, 5e3, 0.0])

    assert robust_nnls(terms, target, target) == pytest.approx([2.0, 5e3, 0.0], abs=1e-9)


def test_rows_that_were_held_up_hardly_count() -> None:
    """One in ten took five times as long."""
    rng = np.random.default_rng(2)
    terms = rng.uniform(1, 100, (300, 2))
    target = terms @ np.array([1.0, 3.0]) * np.exp(rng.normal(0, 0.02, 300))
    target[::10] *= 5

    assert robust_nnls(terms, target, target) == pytest.approx([1.0, 3.0], rel=0.05)


def test_rows_count_in_their_units() -> None:
    """Small times as much as large ones."""
    terms = np.array([[1.0], [1.0], [1.0]])
    target = np.array([1.0, 1.0, 100.0])

    assert robust_nnls(terms, target, np.array([1.0, 1.0, 1e6])) == pytest.approx([1.0], rel=0.01)


def test_no_factor_is_negative() -> None:
    """However much it would help."""
    terms = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])

    found = robust_nnls(terms, np.array([3.0, 2.0, 1.0]), np.ones(3))

    assert found[1] == 0
