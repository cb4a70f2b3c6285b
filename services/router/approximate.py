"""What was routed where: a bounded stand-in for the index where it has no exact answer."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from farsight.keys import Keys
from farsight.table import BlockTable

# Blocks remembered over all endpoints together.
MAX_BLOCKS = 1 << 20
# The tables are made for so many full endpoints; for more they grow.
_ENDPOINTS_FORESEEN = 16
_MAX_LOAD = 0.6
_PARTS = 3
# Least that each call gives up of what is to be forgotten.
_GIVEN_UP_PER_CALL = 256


@dataclass(slots=True)
class _Routed:
    """One endpoint's blocks: a young part that grows, an old one, and one that is given up."""

    slot: int
    young: int = 0
    keys: tuple[deque[Keys], ...] = field(
        default_factory=lambda: tuple(deque() for _ in range(_PARTS))
    )
    blocks: int = 0
    """In the young part."""

    @property
    def leaving(self) -> int:
        """The part that is given up, and is the next young one."""
        return (self.young + 1) % _PARTS


class ApproximateMemory:
    """Most recently routed blocks per endpoint, at most `blocks` of them each.

    Each endpoint has three parts, one in each table. Blocks go to the young part. When it is full
    it becomes the old one, and the old one is given up, a little with each call, until that is the
    young one. So what is used again and again stays, and no call takes long.
    """

    def __init__(self, blocks: int) -> None:
        self._limit = blocks
        foreseen = min(MAX_BLOCKS, blocks * _ENDPOINTS_FORESEEN) // _PARTS
        capacity = max(1, int(foreseen / _MAX_LOAD))
        self._tables = tuple(BlockTable(capacity=capacity) for _ in range(_PARTS))
        self._routed: dict[str, _Routed] = {}
        self._leaving: deque[_Routed] = deque()
        self._free: list[int] = []
        self._slots = 0

    def routed(self, endpoint_id: str, keys: Keys) -> int:
        """A prompt with these keys went to the endpoint.

        :returns: how many of its blocks were not there, or were about to be forgotten.
        """
        limit = min(self._limit, MAX_BLOCKS // (len(self._routed) + 1)) // _PARTS
        keys = keys[:limit]
        if not keys.size:
            return 0
        known = self._routed.get(endpoint_id) or self._begin(endpoint_id)
        table = self._tables[known.young]
        # The young part holds whole prompts: what it lacks of one is its end.
        held = int(table.prefix_lengths(keys, self._slots)[known.slot])
        # Twice as fast as the young part fills, so that nothing is left when it is full.
        self._give_up(known, known.leaving, _GIVEN_UP_PER_CALL + 2 * keys.size)
        self._release_leaving()
        if known.blocks + keys.size - held > limit:
            self._give_up(known, known.leaving, MAX_BLOCKS)
            known.young, known.blocks, held = known.leaving, 0, 0
            table = self._tables[known.young]
        if fresh := keys.size - held:
            table.add(known.slot, keys[held:])
            known.keys[known.young].append(keys[held:].copy())
            known.blocks += fresh
        return int(fresh)

    def _begin(self, endpoint_id: str) -> _Routed:
        if self._free:
            slot = self._free.pop()
        else:
            slot, self._slots = self._slots, self._slots + 1
            for table in self._tables:
                table.reserve(slot)
        self._routed[endpoint_id] = _Routed(slot)
        return self._routed[endpoint_id]

    def _give_up(self, known: _Routed, part: int, blocks: int) -> int:
        """Forget about so many blocks of a part, oldest first; returns how many are still due."""
        while known.keys[part] and blocks > 0:
            gone = known.keys[part].popleft()
            self._tables[part].remove(known.slot, gone)
            blocks -= gone.size
        return max(0, blocks)

    def _release_leaving(self) -> None:
        """Go on forgetting the endpoints that are gone; then their slots are free."""
        left = _GIVEN_UP_PER_CALL
        while self._leaving and left > 0:
            known = self._leaving[0]
            for part in range(_PARTS):
                left = self._give_up(known, part, left)
            if not any(known.keys):
                self._free.append(self._leaving.popleft().slot)

    def forget(self, endpoint_id: str) -> None:
        """The endpoint's cache is gone."""
        known = self._routed.pop(endpoint_id, None)
        if known is not None:
            self._leaving.append(known)
            self._release_leaving()

    def match(self, keys: Keys, endpoint_ids: Sequence[str]) -> npt.NDArray[np.uint32]:
        """Blocks of the longest prefix that went to each endpoint."""
        first, *others = self._tables
        lengths = first.prefix_lengths(keys, self._slots, also=others)
        found = np.zeros(len(endpoint_ids), np.uint32)
        for i, endpoint_id in enumerate(endpoint_ids):
            if known := self._routed.get(endpoint_id):
                found[i] = lengths[known.slot]
        return found
