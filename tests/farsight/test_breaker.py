"""The circuit breaker, on a clock of the test."""

from farsight.breaker import Breaker


def test_a_few_failures_leave_it_closed() -> None:
    """Only failures in a row count."""
    breaker = Breaker(threshold=3, cool_s=10)
    for _ in range(5):
        breaker.failed(0)
        breaker.failed(0)
        breaker.succeeded()

    assert breaker.allows(0)


def test_repeated_failures_open_it_for_a_while() -> None:
    """While open nothing is asked; then one call is, and not a second one at once."""
    breaker = Breaker(threshold=2, cool_s=10)
    breaker.failed(0)
    breaker.failed(1)

    assert not breaker.allows(1)
    assert not breaker.allows(10.9)
    assert breaker.allows(11)
    assert not breaker.allows(11)
    assert breaker.allows(21)


def test_the_trial_decides() -> None:
    """A trial that works closes it; one that fails opens it again."""
    breaker = Breaker(threshold=1, cool_s=10)
    breaker.failed(0)

    assert breaker.allows(10)
    breaker.failed(12)
    assert not breaker.allows(21)

    assert breaker.allows(22)
    breaker.succeeded()
    assert breaker.allows(22)
    assert breaker.allows(22)
