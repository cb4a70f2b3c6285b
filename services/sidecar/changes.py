"""What a batch of engine events changes in the set of blocks that an endpoint holds.

Changes are kept as the mirror's kernels write them: block keys in one array, and runs. A run is
(action, holding, position, count): STORE runs have keys of rising positions, so that a chain of
blocks is one run; REMOVE runs have keys of any position.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from farsight.keys import Keys, pack

MIN_CAPACITY = 4096
KEYS, RUNS = 0, 1


class Tier(IntEnum):
    """Where a block lies; values as in proto/types.proto."""

    DEVICE = 1
    HOST = 2
    STORAGE = 3


class Action(IntEnum):
    """What happens to the blocks; values as in proto/events.proto."""

    STORE = 1
    REMOVE = 2
    CLEAR = 3


@dataclass(frozen=True, slots=True)
class Change:
    """`keys` are block keys, uint64 little-endian; empty for CLEAR, which is for all groups.

    `spans` of a STORE are pairs in the order of the keys: position of a span's first key in its
    prompt, canonical blocks, and number of keys. Other actions have none.
    """

    action: Action
    tier: Tier
    group: int
    keys: bytes
    spans: tuple[int, ...] = ()


class ChangeLog:
    """Collects changes in order; neighbours of one action, tier and group become one change.

    `keys`, `runs` and `used` (keys, runs) are written by kernels, which leave `capacity` alone.
    """

    def __init__(self) -> None:
        self._holdings: Sequence[tuple[Tier, int]] = ()
        self._allocate(MIN_CAPACITY)

    def _allocate(self, capacity: int) -> None:
        self.keys: Keys = np.empty(capacity, np.uint64)
        self.runs: npt.NDArray[np.int64] = np.empty((capacity, 4), np.int64)
        self.used: npt.NDArray[np.int64] = np.zeros(2, np.int64)

    @property
    def capacity(self) -> int:
        """Keys and runs that there is room for."""
        return self.keys.size

    def grow(self, room: int) -> None:
        """Make room for `room` more keys, at least twice what there was."""
        keys, runs, used = self.keys, self.runs, self.used
        self._allocate(max(2 * keys.size, int(used.max()) + room))
        self.keys[: used[KEYS]] = keys[: used[KEYS]]
        self.runs[: used[RUNS]] = runs[: used[RUNS]]
        self.used[:] = used

    def name(self, holdings: Sequence[tuple[Tier, int]]) -> None:
        """Say which tier and group the number of a holding in a run means."""
        self._holdings = holdings

    def clear(self, holding: int) -> None:
        """Note that everything on the tier of a holding is gone."""
        if self.used[RUNS] == self.capacity:
            self.grow(1)
        self.runs[self.used[RUNS]] = (Action.CLEAR, holding, 0, 0)
        self.used[RUNS] += 1

    def take(self) -> tuple[Change, ...]:
        """The changes so far; the log is empty afterwards."""
        count = int(self.used[RUNS])
        if not count:
            return ()
        starts = [0]
        if count > 1:
            ids = self.runs[:count, 0] << 32 | self.runs[:count, 1]
            starts += (np.flatnonzero(np.diff(ids)) + 1).tolist()
        changes: list[Change] = []
        at = 0
        for start, end in zip(starts, [*starts[1:], count], strict=True):
            action, (tier, group) = Action(self.runs[start, 0]), self._holdings[self.runs[start, 1]]
            spans = self.runs[start:end, 2:].ravel().tolist()
            held = sum(spans[1::2])
            if action is not Action.STORE:
                spans = []
            changes.append(
                Change(action, tier, group, pack(self.keys[at : at + held]), tuple(spans))
            )
            at += held
        if self.capacity > MIN_CAPACITY:
            self._allocate(MIN_CAPACITY)
        self.used[:] = 0
        return tuple(changes)
