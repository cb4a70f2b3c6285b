"""What is to happen when: callbacks in order of time, and of their scheduling at equal times."""

import heapq
import math
from collections.abc import Awaitable, Callable
from itertools import count

Action = Callable[[], Awaitable[None] | None]


class Agenda:
    """A heap of callbacks."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Action]] = []
        self._numbers = count()

    @property
    def next_s(self) -> float:
        """Time of the next callback; infinite when there is none."""
        return self._heap[0][0] if self._heap else math.inf

    def at(self, time_s: float, action: Action) -> None:
        """Call `action` at a time."""
        heapq.heappush(self._heap, (time_s, next(self._numbers), action))

    def pop(self) -> Action:
        """The next callback; it is on the agenda no more."""
        return heapq.heappop(self._heap)[2]
