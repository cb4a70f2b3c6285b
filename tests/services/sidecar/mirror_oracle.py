"""What an engine holds, in plain Python: the mirror must come to the same.

A prompt is a tuple of letters 0 to 2, one per canonical block; a prefix of it is a block's identity
in every group. The oracle knows the key of a prefix as long as something that is held tells it,
which is what the events of an engine allow to know.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from farsight.keys import unpack
from services.sidecar.changes import Tier
from tests.services.sidecar.events_for import keys_of

Prefix = tuple[int, ...]
Holder = tuple[Tier, int]  # tier and engine group


def tokens_of(letters: Prefix) -> list[int]:
    """16 tokens a letter."""
    return [100 * letter + i for letter in letters for i in range(16)]


def hash_of(prefix: Prefix) -> int:
    """An engine hash: a number that names the whole prefix."""
    return int("1" + "".join(map(str, prefix)), base=3)


@cache
def keys_of_prefix(prefix: Prefix) -> tuple[int, ...]:
    """All keys of a prefix."""
    return tuple(unpack(keys_of(tokens_of(prefix)), "keys").tolist())


def keys_of_block(prefix: Prefix, length: int) -> set[int]:
    """The last keys of a prefix."""
    return set(keys_of_prefix(prefix)[-length:])


@dataclass
class Block:
    """A prefix that some holders have: [copies, canonical blocks covered] of each."""

    known: bool
    holders: dict[Holder, list[int]] = field(default_factory=dict)


class Oracle:
    """Blocks by prefix."""

    def __init__(self) -> None:
        self.blocks: dict[Prefix, Block] = {}

    def knows(self, prefix: Prefix) -> bool:
        """Events may be chained to it."""
        return not prefix or (prefix in self.blocks and self.blocks[prefix].known)

    def add(self, prefix: Prefix, holder: Holder, length: int, known: bool) -> None:
        """One more copy of a block."""
        block = self.blocks.setdefault(prefix, Block(False))
        block.known = block.known or known
        held = block.holders.setdefault(holder, [0, 0])
        held[0] = 1 if holder[0] is Tier.STORAGE else held[0] + 1
        held[1] = max(held[1], length)

    def remove(self, prefix: Prefix, holder: Holder) -> None:
        """One copy fewer."""
        block = self.blocks[prefix]
        block.holders[holder][0] -= 1
        if not block.holders[holder][0]:
            del block.holders[holder]
        if not block.holders:
            del self.blocks[prefix]

    def clear_device(self) -> None:
        """Everything on the device is gone."""
        for prefix, holder in self.held():
            if holder[0] is Tier.DEVICE:
                self.blocks[prefix].holders[holder][0] = 1
                self.remove(prefix, holder)

    def held(self) -> list[tuple[Prefix, Holder]]:
        """All blocks with their holders, in a fixed order."""
        return sorted((prefix, holder) for prefix, b in self.blocks.items() for holder in b.holders)

    def keys(self, holder: Holder) -> set[int]:
        """What the index should have of a holder."""
        keys: set[int] = set()
        for prefix, block in self.blocks.items():
            if block.known and holder in block.holders:
                keys |= keys_of_block(prefix, block.holders[holder][1])
        return keys

    def has_orphans(self, tiers: Sequence[Tier]) -> bool:
        """A block on one of the tiers has no key."""
        return any(
            not block.known and any(tier in tiers for tier, _ in block.holders)
            for block in self.blocks.values()
        )
