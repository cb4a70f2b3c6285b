"""What was routed where: a bounded stand-in for the index where it has no exact answer."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from farsight.keys import Keys
from farsight.table import BlockTable


class ApproximateMemory:
    """Least recently routed blocks per endpoint, at most `blocks` of them each."""

    def __init__(self, blocks: int) -> None:
        self._limit = blocks
        self._table = BlockTable()
        self._slots: dict[str, int] = {}
        self._recent: dict[str, dict[int, None]] = {}

    def routed(self, endpoint_id: str, keys: Keys) -> None:
        """A prompt with these keys went to the endpoint."""
        if not self._limit:
            return
        slot = self._slots.setdefault(endpoint_id, len(self._slots))
        recent = self._recent.setdefault(endpoint_id, {})
        for key in keys.tolist():
            recent.pop(key, None)
            recent[key] = None
        self._table.add(slot, keys)
        if (surplus := len(recent) - self._limit) > 0:
            dropped = [key for key, _ in zip(recent, range(surplus), strict=False)]
            for key in dropped:
                del recent[key]
            self._table.remove(slot, np.array(dropped, np.uint64))

    def forget(self, endpoint_id: str) -> None:
        """The endpoint's cache is gone."""
        if endpoint_id in self._recent:
            self._recent[endpoint_id].clear()
            self._table.clear(self._slots[endpoint_id])

    def match(self, keys: Keys, endpoint_ids: Sequence[str]) -> npt.NDArray[np.uint32]:
        """Blocks of the longest prefix that went to each endpoint."""
        lengths = self._table.prefix_lengths(keys, len(self._slots))
        found = np.zeros(len(endpoint_ids), np.uint32)
        for i, endpoint_id in enumerate(endpoint_ids):
            slot = self._slots.get(endpoint_id)
            if slot is not None:
                found[i] = lengths[slot]
        return found
