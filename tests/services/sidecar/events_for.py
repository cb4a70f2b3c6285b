"""Batches of events and expected keys for tests of the mirror."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from farsight.keys import Keys, chain, pack, seed_of
from services.sidecar.changes import Change, ChangeLog, Tier
from services.sidecar.events import decode
from services.sidecar.mirror import BlockLayout, Mirror
from tests.fakes.engine import EventMap, body_of, cleared, removed, stored

LAYOUT = BlockLayout("model", 16, 16)


def tokens_of(block: int, count: int = 16) -> list[int]:
    """Distinct tokens of a block."""
    return [block * 1000 + i for i in range(count)]


def keys_of(
    tokens: Sequence[int], *, lora: str = "", block: int = 16, extras: Keys | None = None
) -> bytes:
    """Packed keys of a prompt."""
    seed = seed_of("model", lora, block)
    return pack(chain(seed, np.array(tokens, np.uint32), block, extras))


def store(hashes: Sequence[int | bytes], tokens: Sequence[int], **fields: Any) -> EventMap:
    """A BlockStored; `window` is the sliding window of its group in tokens."""
    window = fields.pop("window", None)
    event = stored(hashes, tokens, **fields)
    return event if window is None else event | {"kv_cache_spec_sliding_window": window}


def placeholder(*hashes: int, medium: str = "CPU", group_idx: int = 0) -> EventMap:
    """What the offloading connector announces by default: the last hash of each chunk."""
    event = stored(hashes, [], block_size=0, medium=medium, group_idx=group_idx)
    return event | {"kv_cache_spec_kind": None, "extra_keys": None}


def remove(*hashes: int | bytes, **fields: Any) -> EventMap:
    """A BlockRemoved."""
    return removed(hashes, **fields)


def clear() -> EventMap:
    """An AllBlocksCleared."""
    return cleared()


def follow(mirror: Mirror, *events: EventMap) -> list[Change]:
    """Apply a batch and return what changed."""
    log = ChangeLog()
    mirror.apply(decode(body_of(events)), log)
    mirror.check_integrity()
    return list(log.take())


def held(mirror: Mirror, tier: Tier = Tier.DEVICE, group: int = 0) -> set[int]:
    """Keys on a tier in a group."""
    for part in mirror.contents():
        if (part.tier, part.group) == (tier, group):
            return set(part.keys.tolist())
    return set()
