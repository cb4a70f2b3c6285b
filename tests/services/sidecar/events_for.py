"""Typed events and expected keys for tests of the mirror."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from farsight.keys import Keys, chain, pack, seed_of
from services.sidecar.changes import Change, ChangeLog
from services.sidecar.events import AllBlocksCleared, BlockRemoved, BlockStored, Event, decode
from services.sidecar.mirror import BlockLayout, Mirror
from tests.fakes.engine import body_of, cleared, removed, stored

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


def typed(event: dict[str, Any]) -> Event:
    """An event through the real decoder."""
    return decode(body_of([event])).events[0]


def store(hashes: Sequence[int], tokens: Sequence[int], **fields: Any) -> BlockStored:
    """A typed BlockStored."""
    event = typed(stored(hashes, tokens, **fields))
    assert isinstance(event, BlockStored)
    return event


def remove(*hashes: int, **fields: Any) -> BlockRemoved:
    """A typed BlockRemoved."""
    event = typed(removed(hashes, **fields))
    assert isinstance(event, BlockRemoved)
    return event


def clear() -> AllBlocksCleared:
    """A typed AllBlocksCleared."""
    event = typed(cleared())
    assert isinstance(event, AllBlocksCleared)
    return event


def follow(mirror: Mirror, *events: Event) -> list[Change]:
    """Apply events and return what changed."""
    log = ChangeLog()
    for event in events:
        mirror.apply(event, log)
    mirror.check_integrity()
    return list(log.take())
