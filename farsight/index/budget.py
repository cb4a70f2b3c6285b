"""How much memory the tables may take, and which blocks go when that is not enough.

Blocks go fairly by endpoint and leaf first. Every endpoint may keep as many blocks as every other
(the quota; nobody below it loses any), and one that has more keeps its earliest positions only, so
that no prefix gets a hole.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from farsight.index.source import NO_LIMIT
from farsight.index.tables import Tables
from farsight.table import MAX_LOAD, MIN_CAPACITY, PLANE_BITS, BlockTable

Blocks: TypeAlias = npt.NDArray[np.int64]

DEFAULT_BUDGET_BYTES = 8 << 30
# A table is trimmed to this load; between it and the load at which a table is crowded lies what
# may come before the next trim.
TRIMMED_LOAD = 0.5
GROWN_LOAD = 0.6


class Shape(NamedTuple):
    """Of a table."""

    capacity: int
    planes: int


def has_room(table: BlockTable, slot: int, added: int) -> bool:
    """The table can take so many keys of a slot as it is."""
    if slot >= table.planes * PLANE_BITS:
        return False
    if not table.is_crowded and added * 16 <= table.capacity:
        return True  # the usual case, without counting
    return table.stats.distinct_keys + added <= table.capacity * MAX_LOAD


def shape_for(table: BlockTable, slot: int, added: int) -> Shape:
    """The shape in which the table can take so many keys of a slot."""
    capacity = table.capacity
    if table.is_crowded or not has_room(table, 0, added):
        while table.stats.distinct_keys + added > capacity * GROWN_LOAD:
            capacity *= 2
    return Shape(capacity, max(table.planes, slot // PLANE_BITS + 1))


def can_become(table: BlockTable, shape: Shape) -> bool:
    """What the table holds fits into that shape."""
    fits = table.stats.distinct_keys <= shape.capacity * MAX_LOAD
    return fits and shape.planes >= table.planes


class Budget:
    """Most bytes that the tables may take, those in the making included.

    Exceeded only by tables of the smallest capacity, which there must be: 17 bytes and 8 more per
    further 64 endpoints for each of 4,096 places, in at most 48 tables.
    """

    def __init__(self, tables: Tables, budget_bytes: int) -> None:
        self._tables = tables
        self.budget_bytes = budget_bytes

    def affords(self, shape: Shape) -> bool:
        """A new table of this shape fits beside what there is."""
        if shape.capacity <= MIN_CAPACITY:
            return True
        needed = self._tables.table_bytes + BlockTable.bytes_of(*shape)
        return needed <= self.budget_bytes

    def nearest(self, table: BlockTable, wanted: Shape) -> Shape:
        """The largest shape up to the wanted one that the table can have, planes as wanted."""
        shape = wanted
        while not self.affords(shape) and shape != (table.capacity, table.planes):
            shape = Shape(shape.capacity // 2, shape.planes)
        return shape

    @property
    def spare_keys(self) -> int:
        """Keys that could be added without a trim soon after, roughly."""
        spare, growth = 0, 0
        for table in self._tables.all:
            spare += max(0, int(table.capacity * TRIMMED_LOAD) - table.stats.distinct_keys)
            if self.affords(Shape(2 * table.capacity, table.planes)):
                growth = max(growth, int(table.capacity * TRIMMED_LOAD))
        return spare + growth


def quota(held: Blocks, keep: int) -> int:
    """Most blocks that each may have so that all have at most `keep`; by filling up from below."""
    left = keep
    for i, blocks in enumerate(np.sort(held).tolist()):
        share = left // (held.size - i)
        if blocks > share:
            return share
        left -= blocks
    return int(held.max(initial=0))


def limits(counts: Blocks, keep: int) -> Blocks:
    """Last bucket that each owner keeps so that all keep at most `keep` blocks.

    :param counts: blocks by bucket, shape (owners, 256).
    :returns: `NO_LIMIT` for owners that lose nothing, -1 for those that keep nothing.
    """
    if not counts.size:
        return np.empty(0, np.int64)
    most = quota(counts.sum(axis=1), keep)
    last: Blocks = (counts.cumsum(axis=1) <= most).sum(axis=1) - 1
    return np.minimum(last, NO_LIMIT)
