"""Takes what released and limited endpoint slots hold out of a table, a slice at a time."""

from collections.abc import Mapping, Sequence

import numpy as np

from farsight.positions import UNKNOWN
from farsight.table import PLANE_BITS, BlockTable, Words
from farsight.table_kernels import GROUP


class Sweep:
    """One pass over a table, in steps; between them everybody may read it and live slots write.

    It walks downwards, around the end, from a group with room. Entries move to lower slots only, so
    what a deletion moves has been looked at, unless it comes from above the start. There it could
    only belong at or below the start, and such an entry was put there after the start was full,
    which is after the sweep began: whoever writes adds nothing for a dead slot and nothing deeper
    than a limit, so it holds nothing to take away.
    """

    def __init__(self, table: BlockTable, dead: Sequence[int], limits: Mapping[int, int]) -> None:
        """Over `table`: dead slots lose everything, limited ones all buckets above their limit."""
        self._table = table
        self._dead = tuple(dead)
        self._limits = dict(limits)
        self._begin()

    def _begin(self) -> None:
        table = self._table
        self._generation = table.generation
        self._group = table.group_with_room()
        self._groups_left = table.capacity // GROUP
        self._doomed = self._masks(table.planes)

    def _masks(self, planes: int) -> Words:
        """Per bucket: bits that an entry in it loses."""
        doomed = np.zeros((UNKNOWN + 1, planes), np.uint64)
        for slot, limit in (*((slot, -1) for slot in self._dead), *self._limits.items()):
            plane, bit = divmod(slot, PLANE_BITS)
            if plane < planes:
                doomed[limit + 1 :, plane] |= np.uint64(1 << bit)
        return doomed

    def step(self, table_slots: int = 16384) -> bool:
        """Sweep some of the table; True when all of it has been.

        It starts anew when the table's arrays were replaced meanwhile.

        :param table_slots: slots of one plane, about 10 ns each; of wider ones it takes fewer.
        """
        table = self._table
        if self._generation != table.generation:
            self._begin()
        groups = min(max(2 * table_slots // GROUP // (1 + table.planes), 1), self._groups_left)
        table.sweep_down(self._doomed, self._group, groups)
        self._groups_left -= groups
        self._group -= groups
        return self._groups_left == 0
