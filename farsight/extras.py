"""What an engine hashes beside the tokens of a block, folded into the extras of block keys.

A cache salt counts in block 0 only. A multimodal item counts in the block in which it starts,
with its offset in that block; the blocks after it inherit it through the chain, so the keys do not
depend on the engine's block size. The parts of one block are hashed together: items in the order of
their offsets, then the salt. The sidecar folds what an engine announces, the router what a request
says: both with these functions, so that they come to the same keys.
"""

from collections.abc import Sequence

import numpy as np

from farsight.keys import Keys, extra_of

Item = tuple[str, int]  # identifier of a multimodal item, offset in the prompt in tokens


def salt_part(cache_salt: str) -> list[bytes]:
    """Parts of block 0 of a prompt with a cache salt."""
    return [b"salt", cache_salt.encode()]


def item_part(identifier: str, offset_tokens: int) -> list[bytes]:
    """Parts of the block in which a multimodal item starts.

    :param offset_tokens: from the start of that block.
    """
    return [b"mm", identifier.encode(), str(offset_tokens).encode()]


def prompt_extras(cache_salt: str, items: Sequence[Item], block_tokens: int) -> Keys | None:
    """Extras of the first blocks of a whole prompt; None when there is nothing beside its tokens.

    :param items: offsets are 0 or more.
    :returns: an extra for each block up to the last that has one.
    """
    parts: dict[int, list[bytes]] = {}
    for identifier, offset_tokens in sorted(items, key=lambda item: item[1]):
        block, within = divmod(offset_tokens, block_tokens)
        parts.setdefault(block, []).extend(item_part(identifier, within))
    if cache_salt:
        parts.setdefault(0, []).extend(salt_part(cache_salt))
    if not parts:
        return None
    extras = np.zeros(max(parts) + 1, np.uint64)
    for block, folded in parts.items():
        extras[block] = extra_of(folded)
    return extras
