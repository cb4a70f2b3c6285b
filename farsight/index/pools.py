"""Shared storage: endpoints that mount the same root are credited with what any of them announced.

Every member's storage blocks are kept under its own slot. What members announced in earlier lives,
or before they left, is inherited by the pool, because the files are still there; it goes when a
member removes it, or with the last member. Pools of different identity share nothing.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from farsight.index.slots import Slots
from farsight.index.source import NO_LIMIT, Source
from farsight.table import PLANE_BITS

Masks = npt.NDArray[np.uint64]


@dataclass(slots=True, eq=False)
class StoragePool:
    """One root of shared storage."""

    members: dict[str, Source] = field(default_factory=dict)
    inherited: int | None = None
    """Slot of blocks that no member's present life has announced."""
    legacies: list[int] = field(default_factory=list)
    """Slots of lives that ended, to be merged into the inherited one."""
    limit: int = NO_LIMIT

    @property
    def own_slots(self) -> list[int]:
        """Slots that belong to the pool itself."""
        return self.legacies if self.inherited is None else [self.inherited, *self.legacies]

    @property
    def slots(self) -> list[int]:
        """Every slot that credits the members."""
        return [*(member.slot for member in self.members.values()), *self.own_slots]

    @property
    def written_slots(self) -> list[int]:
        """The same, and those that members' snapshots are loaded into."""
        return [*(s for member in self.members.values() for s in member.own_slots), *self.own_slots]


class StoragePools:
    """Pools by identity; an empty identity is no pool."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._pools: dict[str, StoragePool] = {}
        self._masks: Masks | None = None

    def __bool__(self) -> bool:
        return bool(self._pools)

    @property
    def all(self) -> list[StoragePool]:
        """Every pool."""
        return list(self._pools.values())

    def of(self, source: Source) -> StoragePool | None:
        """The endpoint's pool; None without one."""
        return self._pools.get(source.storage_pool)

    def join(self, source: Source) -> None:
        """The endpoint mounts the storage that `source.storage_pool` names."""
        if source.storage_pool:
            pool = self._pools.setdefault(source.storage_pool, StoragePool())
            pool.members[source.endpoint_id] = source
        self._masks = None

    def leave(self, source: Source) -> None:
        """The endpoint is no member any more; the pool goes with the last one."""
        pool = self.of(source)
        if pool is None:
            return
        del pool.members[source.endpoint_id]
        if not pool.members:
            del self._pools[source.storage_pool]
            for slot in pool.own_slots:
                self._slots.release(slot)
        self._masks = None

    def inherit(self, source: Source, slot: int) -> None:
        """The pool takes over a slot that was the endpoint's."""
        self._pools[source.storage_pool].legacies.append(slot)
        self._masks = None

    def touch(self) -> None:
        """A slot of a member or a pool is another one now."""
        self._masks = None

    @property
    def masks(self) -> Masks:
        """Slots of each pool as bits, shape (pools, planes); without pools of a single slot."""
        if self._masks is None:
            shared = [slots for pool in self.all if len(slots := pool.slots) > 1]
            masks = np.zeros((len(shared), -(-self._slots.count // PLANE_BITS)), np.uint64)
            for row, slots in zip(masks, shared, strict=True):
                for slot in slots:
                    row[slot // PLANE_BITS] |= np.uint64(1 << slot % PLANE_BITS)
            self._masks = masks
        return self._masks
