"""What was routed where: a bounded stand-in for the index where it has no exact answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from farsight.keys import Keys
from farsight.table import BlockTable

# Blocks remembered over all endpoints together.
MAX_BLOCKS = 1 << 20


@dataclass(slots=True)
class _Routed:
    """One endpoint's blocks: a young half that grows and an old one that is dropped whole."""

    slot: int
    young: int = 0
    keys: tuple[list[Keys], list[Keys]] = field(default_factory=lambda: ([], []))
    blocks: int = 0
    """In the young half."""


class ApproximateMemory:
    """Most recently routed blocks per endpoint, at most `blocks` of them each.

    Each endpoint has two halves, one in either table. Blocks go to the young half; when it is full
    the old one is dropped and they change places, so what is used again and again stays.
    """

    def __init__(self, blocks: int) -> None:
        self._limit = blocks
        self._tables = (BlockTable(), BlockTable())
        self._routed: dict[str, _Routed] = {}
        self._free: list[int] = []
        self._slots = 0

    def routed(self, endpoint_id: str, keys: Keys) -> None:
        """A prompt with these keys went to the endpoint."""
        limit = min(self._limit, MAX_BLOCKS // (len(self._routed) + 1)) // 2
        keys = keys[:limit]
        if not keys.size:
            return
        known = self._routed.get(endpoint_id) or self._begin(endpoint_id)
        table = self._tables[known.young]
        # The young half holds whole prompts: what it lacks of one is its end.
        held = int(table.prefix_lengths(keys, self._slots)[known.slot])
        if known.blocks + keys.size - held > limit:
            known.young = 1 - known.young
            table = self._tables[known.young]
            self._drop(known, known.young)
            known.blocks, held = 0, 0
        if fresh := keys.size - held:
            table.add(known.slot, keys[held:])
            known.keys[known.young].append(keys[held:].copy())
            known.blocks += fresh

    def _begin(self, endpoint_id: str) -> _Routed:
        if self._free:
            slot = self._free.pop()
        else:
            slot, self._slots = self._slots, self._slots + 1
            for table in self._tables:
                table.reserve(slot)
        self._routed[endpoint_id] = _Routed(slot)
        return self._routed[endpoint_id]

    def _drop(self, known: _Routed, half: int) -> None:
        if known.keys[half]:
            self._tables[half].remove(known.slot, np.concatenate(known.keys[half]))
            known.keys[half].clear()

    def forget(self, endpoint_id: str) -> None:
        """The endpoint's cache is gone."""
        known = self._routed.pop(endpoint_id, None)
        if known is not None:
            for half in (0, 1):
                self._drop(known, half)
            self._free.append(known.slot)

    def match(self, keys: Keys, endpoint_ids: Sequence[str]) -> npt.NDArray[np.uint32]:
        """Blocks of the longest prefix that went to each endpoint."""
        one, other = self._tables
        lengths = one.prefix_lengths(keys, self._slots, also=(other,))
        found = np.zeros(len(endpoint_ids), np.uint32)
        for i, endpoint_id in enumerate(endpoint_ids):
            if known := self._routed.get(endpoint_id):
                found[i] = lengths[known.slot]
        return found
