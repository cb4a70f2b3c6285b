"""What a batch of engine events changes in the set of blocks that an endpoint holds."""

from dataclasses import dataclass
from enum import IntEnum


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
    """`keys` are block keys, uint64 little-endian, prefix order; empty for CLEAR."""

    action: Action
    tier: Tier
    keys: bytes


class ChangeLog:
    """Collects changes in order; neighbours of one action and tier become one change."""

    def __init__(self) -> None:
        self._runs: list[tuple[Action, Tier, list[bytes]]] = []

    def add(self, action: Action, tier: Tier, keys: bytes = b"") -> None:
        """Append packed keys to the last run, or start a new one."""
        if self._runs:
            last_action, last_tier, pieces = self._runs[-1]
            if last_action is action and last_tier is tier:
                pieces.append(keys)
                return
        self._runs.append((action, tier, [keys]))

    def take(self) -> tuple[Change, ...]:
        """The changes so far; the log is empty afterwards."""
        runs, self._runs = self._runs, []
        return tuple(Change(action, tier, b"".join(pieces)) for action, tier, pieces in runs)
