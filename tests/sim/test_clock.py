"""Virtual time."""

from sim.clock import VirtualClock


def test_the_clock_says_what_it_was_set_to() -> None:
    """In seconds to whoever calls it, and as Unix milliseconds from a fixed origin."""
    clock = VirtualClock()
    start_unix_ms = clock.unix_ms()

    clock.now_s = 1.5

    assert clock() == 1.5
    assert clock.unix_ms() == start_unix_ms + 1500
    assert VirtualClock().unix_ms() == start_unix_ms
