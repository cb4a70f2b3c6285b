"""What asking a second index replica about an endpoint has brought lately.

An endpoint that is not EXACT anywhere would cost a second call in every request, and one that only
another replica knows well would be asked for in the wrong place first.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from farsight.index.holders import Costs
from farsight.index.shards import IndexReplica

LOOK_AGAIN_S = 1.0
MAX_NOTES = 1 << 14

Mask = npt.NDArray[np.bool_]


class SecondLooks:
    """Notes that hold for `LOOK_AGAIN_S`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._in_vain: dict[str, float] = {}
        self._better: dict[str, tuple[str, float]] = {}

    @property
    def have_found(self) -> bool:
        """Some endpoint is better asked for elsewhere than its rank says."""
        return bool(self._better)

    def note(self, endpoint_id: str, better_replica: str | None, is_exact: bool) -> None:
        """A second replica was asked; `better_replica` is its id when it knew more."""
        until_s = self._clock() + LOOK_AGAIN_S
        for notes in (self._in_vain, self._better):
            if len(notes) >= MAX_NOTES:
                notes.clear()
        if better_replica is not None:
            self._better[endpoint_id] = better_replica, until_s
        if not is_exact:
            self._in_vain[endpoint_id] = until_s

    def worth(self, endpoint_ids: Sequence[str], doubtful: Mask) -> Mask:
        """Which of the doubtful answers a second look may better."""
        if not self._in_vain or not doubtful.any():
            return doubtful
        now_s = self._clock()
        hopeful = doubtful.copy()
        for row in np.flatnonzero(doubtful).tolist():
            hopeful[row] = self._in_vain.get(endpoint_ids[row], 0) <= now_s
        return hopeful

    def prefer(self, wanted: Sequence[str], replicas: Sequence[IndexReplica], costs: Costs) -> None:
        """Make those the cheapest that knew more."""
        if not self._better:
            return
        now_s = self._clock()
        self._better = {e: note for e, note in self._better.items() if note[1] > now_s}
        place = {replica.replica_id: i for i, replica in enumerate(replicas)}
        for row, endpoint_id in enumerate(wanted):
            if endpoint_id in self._better and self._better[endpoint_id][0] in place:
                costs[row, place[self._better[endpoint_id][0]]] = -1
