"""A circuit breaker: after repeated failures, do not ask for a moment."""


class Breaker:
    """Closed until `threshold` failures in a row; then open for `cool_s`, then one trial call."""

    def __init__(self, threshold: int = 5, cool_s: float = 1.0) -> None:
        self._threshold = threshold
        self._cool_s = cool_s
        self._failures = 0
        self._open_until_s = 0.0

    def allows(self, now_s: float) -> bool:
        """A call may be made now; an open breaker lets one through each `cool_s`."""
        if self._failures < self._threshold:
            return True
        if now_s >= self._open_until_s:
            self._open_until_s = now_s + self._cool_s
            return True
        return False

    def succeeded(self) -> None:
        """A call worked."""
        self._failures = 0

    def failed(self, now_s: float) -> None:
        """A call failed or was late."""
        self._failures += 1
        self._open_until_s = now_s + self._cool_s
