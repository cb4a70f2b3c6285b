"""How long a prefix each endpoint holds: on the device, with host memory, with storage."""

from collections.abc import Sequence

import numpy as np

from farsight import group_rules
from farsight.index.match import Counts, Matches
from farsight.index.parts import IndexParts
from farsight.index.source import Source
from farsight.index.tables import STORAGE, TIERS
from farsight.index.wire import Layout, Tier
from farsight.keys import Keys
from farsight.pb.events_pb2 import KvGroup
from farsight.table import PLANE_BITS


class Matcher:
    """Reads the tables; nothing waits for it and it waits for nothing."""

    def __init__(self, parts: IndexParts) -> None:
        self._parts = parts
        self._device, self._host, self._storage = (
            table for tier in TIERS if (table := parts.tables.find(tier, 0)) is not None
        )

    def match(self, keys: Keys, endpoint_ids: Sequence[str]) -> Matches:
        """Longest usable prefix of each endpoint; no ids: of every endpoint."""
        known, rows = self._parts.sources.roster(endpoint_ids)
        if not known:
            return Matches.nothing()
        standing = self._parts.sources.standings.of(rows, self._parts.clock())
        slots = standing.slots
        reaches = self._reaches(keys)
        device = reaches[0][slots]
        host = storage = np.zeros_like(device)
        if reaches[1] is not reaches[0]:
            host = reaches[1][slots] - device
        if reaches[2] is not reaches[1]:
            storage = reaches[2][slots] - device - host
        return Matches(known, device, host, storage, standing.age_ms, standing.confidence)

    def _reaches(self, keys: Keys) -> list[Counts]:
        """Prefix of every slot on the device, with host memory, with storage as well."""
        count = self._parts.slots.count
        device = host = storage = self._device.prefix_lengths(keys, count)
        if not self._host.empty:
            host = storage = self._device.prefix_lengths(keys, count, (self._host,))
        if not self._storage.empty:
            pools = self._parts.pools.masks if self._parts.pools else None
            lower = (self._host, self._storage)
            storage = self._device.prefix_lengths(keys, count, lower, pools)
        if not self._parts.sources.hybrids:
            return [device, host, storage]
        reaches = [device.copy(), host.copy(), storage.copy()]
        for layout, sources in self._parts.sources.hybrids.items():
            self._overwrite(reaches, keys, layout, sources)
        return reaches

    def _overwrite(
        self, reaches: Sequence[Counts], keys: Keys, layout: Layout, sources: Sequence[Source]
    ) -> None:
        """The longest prefix that every KV group of a layout allows, for those that have it."""
        slots = [source.slot for source in sources]
        members = np.zeros(-(-self._parts.slots.count // PLANE_BITS), np.uint64)
        for slot in slots:
            members[slot // PLANE_BITS] |= np.uint64(1 << slot % PLANE_BITS)
        rows = {group: np.zeros((keys.size, members.size), np.uint64) for group, _, _ in layout}
        for step, tier in enumerate(TIERS):
            if not self._add_tier(rows, keys, tier) and step:
                reaches[step][slots] = reaches[step - 1][slots]
                continue
            valid = group_rules.every_length(keys.size, members.size)
            for group, rule, window in layout:
                _apply(rule, rows[group], valid, window)
            group_rules.longest(valid, members, reaches[step])

    def _add_tier(self, rows: dict[int, group_rules.Rows], keys: Keys, tier: Tier) -> bool:
        """Whether the tier had any block of the groups."""
        pools = self._parts.pools.masks if tier == STORAGE and self._parts.pools else None
        has_any = False
        for group in rows:
            table = self._parts.tables.find(tier, group)
            if table is not None and not table.empty:
                rows[group] = table.held_rows(keys, rows[group], pools)
                has_any = True
        return has_any


def _apply(
    rule: KvGroup.Rule.ValueType, rows: group_rules.Rows, valid: group_rules.Rows, window: int
) -> None:
    if rule == KvGroup.RULE_PREFIX:
        group_rules.apply_prefix(rows, valid)
    elif rule == KvGroup.RULE_SUFFIX:
        group_rules.apply_suffix(rows, valid, window)
    else:
        group_rules.apply_checkpoint(rows, valid)
