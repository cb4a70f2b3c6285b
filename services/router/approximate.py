"""What was routed where: a bounded stand-in for the index where it has no exact answer."""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from farsight.keys import Keys
from farsight.table import PLANE_BITS, BlockTable

# Blocks remembered over all endpoints together.
MAX_BLOCKS = 1 << 20
# The tables are made for so many full endpoints; for more they grow.
_ENDPOINTS_FORESEEN = 16
_MAX_LOAD = 0.6
_PARTS = 3
# Least that each call gives up of an endpoint that is gone.
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

    def rotate(self) -> None:
        """The young part is full; the one that was given up, now empty, is the next young one."""
        self.young, self.blocks = self.leaving, 0


class ApproximateMemory:
    """Most recently routed blocks per endpoint, at most `blocks` of them each.

    Each endpoint has three parts, one in each table. Blocks go to the young part. When it is full
    it becomes the old one, and the old one is given up, a little with each call, until that is the
    young one. So what is used again and again stays, and no call takes long.

    Every 64 endpoints have tables of their own: a wider table would have to be made anew, which
    takes a tenth of a second, when one more endpoint comes.
    """

    def __init__(self, blocks: int) -> None:
        self._limit = blocks
        self._shards: list[tuple[BlockTable, ...]] = []
        self._routed: OrderedDict[str, _Routed] = OrderedDict()  # least recently routed first
        self._leaving: deque[_Routed] = deque()
        self._free: list[int] = []
        self._slots = 0
        self._held = 0
        self._add_shard()

    @property
    def held(self) -> int:
        """Blocks in all parts of all endpoints, those that are being given up included."""
        return self._held

    def _add_shard(self) -> None:
        foreseen = min(MAX_BLOCKS, self._limit * _ENDPOINTS_FORESEEN) // _PARTS
        # The more endpoints, the fewer blocks of each.
        capacity = max(1, int(foreseen / _MAX_LOAD / (len(self._shards) + 1)))
        self._shards.append(tuple(BlockTable(capacity=capacity) for _ in range(_PARTS)))

    def _table(self, known: _Routed, part: int) -> tuple[BlockTable, int]:
        """The table of an endpoint's part, and its slot there."""
        return self._shards[known.slot // PLANE_BITS][part], known.slot % PLANE_BITS

    def routed(self, endpoint_id: str, keys: Keys) -> int:
        """A prompt with these keys went to the endpoint.

        :returns: how many of its blocks were not there, or were about to be forgotten.
        """
        limit = min(self._limit, MAX_BLOCKS // (len(self._routed) + 1)) // _PARTS
        keys = keys[:limit]
        if not keys.size:
            return 0
        known = self._routed.get(endpoint_id) or self._begin(endpoint_id)
        self._routed.move_to_end(endpoint_id)
        table, slot = self._table(known, known.young)
        # The young part holds whole prompts: what it lacks of one is its end.
        held = int(table.prefix_lengths(keys, slot + 1)[slot])
        # Twice as fast as the young part fills, so that nothing is left when it is full.
        self._give_up(known, known.leaving, 2 * (keys.size - held))
        if known.blocks + keys.size - held > limit:
            self._give_up(known, known.leaving, MAX_BLOCKS)
            known.rotate()
            (table, slot), held = self._table(known, known.young), 0
        if fresh := keys.size - held:
            table.add(slot, keys[held:])
            known.keys[known.young].append(keys[held:].copy())
            known.blocks += fresh
            self._held += fresh
        self._make_room()
        return int(fresh)

    def _begin(self, endpoint_id: str) -> _Routed:
        if self._free:
            slot = self._free.pop()
        else:
            slot, self._slots = self._slots, self._slots + 1
            if slot == len(self._shards) * PLANE_BITS:
                self._add_shard()
        self._routed[endpoint_id] = _Routed(slot)
        return self._routed[endpoint_id]

    def _give_up(self, known: _Routed, part: int, blocks: int) -> int:
        """Forget about so many blocks of a part, oldest first; returns how many are still due."""
        table, slot = self._table(known, part)
        while known.keys[part] and blocks > 0:
            gone = known.keys[part].popleft()
            table.remove(slot, gone)
            self._held -= gone.size
            blocks -= gone.size
        return max(0, blocks)

    def _make_room(self) -> None:
        """Keep the bound of all endpoints: those routed to least recently give up first."""
        self._release_leaving(max(_GIVEN_UP_PER_CALL, self._held - MAX_BLOCKS))
        while self._held > MAX_BLOCKS:
            endpoint_id, known = next(iter(self._routed.items()))
            parts = known.leaving, (known.leaving + 1) % _PARTS
            for part in parts:
                self._give_up(known, part, self._held - MAX_BLOCKS)
            if not any(known.keys):
                del self._routed[endpoint_id]
                self._free.append(known.slot)
            elif not any(known.keys[part] for part in parts):
                known.rotate()

    def _release_leaving(self, blocks: int) -> None:
        """Go on forgetting the endpoints that are gone; then their slots are free."""
        while self._leaving and blocks > 0:
            known = self._leaving[0]
            for part in range(_PARTS):
                blocks = self._give_up(known, part, blocks)
            if not any(known.keys):
                self._free.append(self._leaving.popleft().slot)

    def forget(self, endpoint_id: str) -> None:
        """The endpoint's cache is gone."""
        known = self._routed.pop(endpoint_id, None)
        if known is not None:
            self._leaving.append(known)
            self._release_leaving(_GIVEN_UP_PER_CALL)

    def match(self, keys: Keys, endpoint_ids: Sequence[str]) -> npt.NDArray[np.uint32]:
        """Blocks of the longest prefix that went to each endpoint."""
        lengths = np.concatenate(
            [first.prefix_lengths(keys, PLANE_BITS, also=others) for first, *others in self._shards]
        )
        found = np.zeros(len(endpoint_ids), np.uint32)
        for i, endpoint_id in enumerate(endpoint_ids):
            if known := self._routed.get(endpoint_id):
                found[i] = lengths[known.slot]
        return found
