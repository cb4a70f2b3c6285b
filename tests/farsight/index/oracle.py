"""The usable prefix in plain Python, from what the index itself holds."""

from collections.abc import Mapping, Sequence

from farsight.index.source import Source
from farsight.index.state import KvIndex
from farsight.index.wire import Layout
from tests.farsight.index.messages import CHECKPOINT, PREFIX, STORAGE, TIERS, Places

Held = Mapping[int, frozenset[int]]
"""Keys by KV group."""


def places_of(index: KvIndex, slot: int) -> Places:
    """What a slot holds by tier and group, without what is empty."""
    parts = index.parts.tables.keys_of(slot)
    return {(tier, group): frozenset(keys.tolist()) for tier, group, keys in parts if keys.size}


def credited(index: KvIndex, source: Source) -> Places:
    """What counts for an endpoint: its own blocks, and those of its storage pool."""
    places = dict(places_of(index, source.slot))
    pool = index.parts.pools.of(source)
    for slot in pool.slots if pool else ():
        for (tier, group), keys in places_of(index, slot).items():
            if tier == STORAGE:
                places[tier, group] = places.get((tier, group), frozenset()) | keys
    return places


def is_usable(layout: Layout, held: Held, prompt: Sequence[int], length: int) -> bool:
    """Every group allows a prefix of this length."""
    for group, rule, window in layout:
        keys = held.get(group, frozenset())
        begin = {PREFIX: 0, CHECKPOINT: length - 1}.get(rule, max(0, length - window))
        if not keys.issuperset(prompt[begin:length]):
            return False
    return True


def prefixes(index: KvIndex, source: Source, prompt: Sequence[int]) -> list[int]:
    """Further blocks of the prefix on each tier."""
    places = credited(index, source)
    told: list[int] = []
    for count in range(1, len(TIERS) + 1):
        held: dict[int, frozenset[int]] = {}
        for (tier, group), keys in places.items():
            if tier in TIERS[:count]:
                held[group] = held.get(group, frozenset()) | keys
        lengths = range(len(prompt), 0, -1)
        longest = next((n for n in lengths if is_usable(source.layout, held, prompt, n)), 0)
        told.append(longest - sum(told))
    return told
