"""The blocks of one tier: engine hash -> packed block keys, physical copies, and shared keys.

An engine block of k canonical blocks has k keys. Blocks that part within their last canonical block
share the keys before it, so of those it is counted how many blocks hold them; the last key of a
block belongs to that block alone, because keys are chained.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from services.sidecar.events import BlockHash

ORPHAN = b""
_SLICE = 10_000


@dataclass(frozen=True, slots=True)
class HeldKeys:
    """Packed keys of each engine block, and every key that is not the last of a block, once."""

    blocks: list[bytes]
    inner: list[bytes]

    async def pack(self) -> bytes:
        """Every key once, joined in slices that do not hold up the event loop."""
        packed = []
        for pieces in (self.blocks, self.inner):
            for at in range(0, len(pieces), _SLICE):
                packed.append(b"".join([keys[-8:] for keys in pieces[at : at + _SLICE]]))
                await asyncio.sleep(0)
        return b"".join(packed)


class Holding:
    """`key_count` is in canonical blocks, each counted once; `orphans` in engine blocks."""

    __slots__ = ("_blocks", "_copies", "_inner", "key_count", "orphans")

    def __init__(self) -> None:
        self._blocks: dict[BlockHash, bytes] = {}
        self._copies: dict[BlockHash, int] = {}
        self._inner: dict[bytes, int] = {}
        self.key_count = 0
        self.orphans = 0

    def __len__(self) -> int:
        """Engine blocks, orphans among them."""
        return len(self._blocks)

    def get(self, block: BlockHash) -> bytes | None:
        """Keys of a block, empty for an orphan; None when it is not held."""
        return self._blocks.get(block)

    def keys(self) -> HeldKeys:
        """All keys, as they are now."""
        return HeldKeys(list(self._blocks.values()), list(self._inner))

    def store(self, block: BlockHash, keys: bytes, *, count_copy: bool) -> bytes:
        """Hold a block, or one more copy of it; returns the keys that no block held before."""
        known = self._blocks.get(block)
        if known is not None:
            if count_copy:
                self._copies[block] = self._copies.get(block, 0) + 1
            if known != ORPHAN or keys == ORPHAN:
                return b""
            self.orphans -= 1
        self._blocks[block] = keys
        if keys == ORPHAN:
            self.orphans += 1
            return b""
        fresh = keys if len(keys) == 8 else self._hold_inner(keys)
        self.key_count += len(fresh) // 8
        return fresh

    def release(self, block: BlockHash) -> bytes | None:
        """Drop one copy; returns the keys that no block holds any more, None for a stranger."""
        if copies := self._copies.pop(block, 0):
            if copies > 1:
                self._copies[block] = copies - 1
            return b""
        keys = self._blocks.pop(block, None)
        if keys is None:
            return None
        if keys == ORPHAN:
            self.orphans -= 1
            return b""
        gone = keys if len(keys) == 8 else self._release_inner(keys)
        self.key_count -= len(gone) // 8
        return gone

    def _hold_inner(self, keys: bytes) -> bytes:
        fresh = []
        for key in _inner_keys(keys):
            holders = self._inner.get(key, 0)
            self._inner[key] = holders + 1
            if not holders:
                fresh.append(key)
        return b"".join((*fresh, keys[-8:]))

    def _release_inner(self, keys: bytes) -> bytes:
        gone = []
        for key in _inner_keys(keys):
            holders = self._inner.pop(key) - 1
            if holders:
                self._inner[key] = holders
            else:
                gone.append(key)
        return b"".join((*gone, keys[-8:]))

    def check_integrity(self) -> None:
        """Assert the invariants; walks over everything."""
        blocks = [keys for keys in self._blocks.values() if keys != ORPHAN]
        inner = [key for keys in blocks for key in _inner_keys(keys)]
        assert all(count > 0 for count in self._copies.values())
        assert self._copies.keys() <= self._blocks.keys()
        assert self.orphans == len(self._blocks) - len(blocks)
        assert self._inner.keys() == set(inner)
        assert sum(self._inner.values()) == len(inner)
        assert self.key_count == len(blocks) + len(self._inner)


def _inner_keys(keys: bytes) -> Iterator[bytes]:
    """All keys of a block but the last."""
    return (keys[at : at + 8] for at in range(0, len(keys) - 8, 8))
