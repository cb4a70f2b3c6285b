"""A number that one process counts up and another one reads, without a message."""

import multiprocessing
import time
from typing import Any

STALL_LIMIT_S = 60.0
_POLL_S = 0.0005


class Progress:
    """Given to a `Worker` when it is made."""

    def __init__(self) -> None:
        self._value: Any = multiprocessing.get_context("spawn").RawValue("Q", 0)

    @property
    def value(self) -> int:
        """The number now."""
        return int(self._value.value)

    def set(self, value: int) -> None:
        """The number from now on; one process does this."""
        self._value.value = value

    def wait_for(self, wanted: int) -> None:
        """Return when the number is at least as high.

        :raises TimeoutError: it has not moved for STALL_LIMIT_S.
        """
        last, since = self.value, time.monotonic()
        while (now := self.value) < wanted:
            if now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > STALL_LIMIT_S:
                raise TimeoutError(f"stopped at {now} of {wanted}")
            time.sleep(_POLL_S)
