"""Which slot holds which block: a table per tier and KV group."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from farsight.index.wire import Tier
from farsight.keys import Keys
from farsight.pb import types_pb2
from farsight.table import BlockTable

Place: TypeAlias = tuple[Tier, int]  # tier and KV group

DEVICE, HOST, STORAGE = types_pb2.TIER_DEVICE, types_pb2.TIER_HOST, types_pb2.TIER_STORAGE
TIERS = (DEVICE, HOST, STORAGE)


class Tables:
    """Group 0 of every tier is there from the start; the table of another group comes with its
    first block."""

    def __init__(self) -> None:
        self._places: dict[Place, BlockTable] = {(tier, 0): BlockTable() for tier in TIERS}

    def find(self, tier: Tier, group: int) -> BlockTable | None:
        """The table of a place; None when there is none yet, or never will be."""
        return self._places.get((tier, group))

    def need(self, tier: Tier, group: int) -> BlockTable | None:
        """The table of a place, made now if need be; None for a tier that we do not know."""
        table = self._places.get((tier, group))
        if table is None and tier in TIERS:
            table = self._places[tier, group] = BlockTable()
        return table

    def of_tier(self, tier: Tier) -> Sequence[BlockTable]:
        """Tables of all groups of a tier."""
        return [table for (t, _), table in self._places.items() if t == tier]

    def of_group(self, group: int) -> Sequence[BlockTable | None]:
        """Tables of a group in the order of the tiers."""
        return [self._places.get((tier, group)) for tier in TIERS]

    @property
    def all(self) -> Sequence[BlockTable]:
        """Every table."""
        return list(self._places.values())

    @property
    def table_bytes(self) -> int:
        """Memory of all tables."""
        return sum(table.stats.table_bytes for table in self._places.values())

    def held(self, slot: int) -> int:
        """Blocks of a slot over all tables."""
        return sum(table.held(slot) for table in self._places.values())

    def held_on(self, tier: Tier, slot: int) -> int:
        """Blocks of a slot on a tier, all groups."""
        return sum(table.held(slot) for table in self.of_tier(tier))

    def keys_of(self, slot: int) -> list[tuple[Tier, int, Keys]]:
        """Tier, group and keys of a slot, group 0 always; a pass over the tables."""
        return [
            (tier, group, table.keys_of(slot))
            for (tier, group), table in list(self._places.items())  # others may come meanwhile
            if group == 0 or table.held(slot)
        ]

    def bucket_counts(self, slots: Sequence[int]) -> npt.NDArray[np.int64]:
        """Blocks by bucket of each slot, over all tables, shape (slots, 256); a pass over them."""
        counts = np.zeros((len(slots), 256), np.int64)
        for table in self.all:
            if not table.empty:
                counts += table.bucket_counts(slots)
        return counts

    def check_integrity(self, slots: Iterable[int]) -> None:
        """Raise AssertionError when an invariant is broken."""
        known = list(slots)
        for table in self._places.values():
            table.check_integrity()
            for slot in known:
                assert table.keys_of(slot).size == table.held(slot), f"blocks of slot {slot}"
