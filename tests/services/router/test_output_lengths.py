"""The expected output of a request."""

import pytest

from services.router.output_lengths import OutputLengths


def test_the_default_holds_until_a_request_has_finished() -> None:
    """Then it is a running mean per model."""
    lengths = OutputLengths(128)
    first = lengths.expected("m", 0)

    lengths.finished("m", 10)
    second = lengths.expected("m", 0)
    lengths.finished("m", 110)

    assert (first, second) == (128, 10)
    assert lengths.expected("m", 0) == pytest.approx(15)
    assert lengths.expected("other", 0) == 128


@pytest.mark.parametrize(("most", "expected"), [(0, 128), (1, 1), (128, 128), (500, 128)])
def test_the_clients_bound_is_a_bound(most: int, expected: float) -> None:
    """0 means that there is none."""
    assert OutputLengths(128).expected("m", most) == expected
