"""Virtual time."""


class VirtualClock:
    """Seconds since the start of a simulation; the simulation moves it."""

    # Decisions carry wall-clock times; a fixed origin keeps them the same in every run.
    ORIGIN_UNIX_S = 1_700_000_000

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def unix_ms(self) -> int:
        """Milliseconds since 1970 of the simulated moment."""
        return int((self.ORIGIN_UNIX_S + self.now_s) * 1000)
