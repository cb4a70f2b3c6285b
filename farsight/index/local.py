"""The embedded twin of the index client: a read replica inside the router's process."""

from collections.abc import Sequence

from farsight.index.match import Matches
from farsight.index.state import KvIndex
from farsight.keys import Keys


class LocalIndex:
    """Answers from an index in this process."""

    def __init__(self, index: KvIndex) -> None:
        self._index = index

    async def match(self, keys: Keys, endpoint_ids: Sequence[str]) -> Matches:
        """Longest contiguous prefix of each endpoint."""
        return self._index.match(keys, endpoint_ids)
