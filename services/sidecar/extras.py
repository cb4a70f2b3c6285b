"""Folds what an engine announces beside the tokens of a block into the extras of block keys.

An engine sends untagged values per engine block, in this order: adapter name, (multimodal
identifier, offset) pairs, cache salt, prompt-embeds digest. The adapter is in the seed already, so
its copy is dropped. A salt counts at token 0 only. An item counts in the canonical block in which
it starts; its mentions in the blocks that it only reaches into are dropped. What farsight/extras.py
says of salts and items holds here too; anything else is hashed into the block that names it.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from farsight.extras import item_part, salt_part
from farsight.keys import Keys, extra_of

ExtraKeys = Sequence[Sequence[Any] | None]


def fold(
    extra_keys: ExtraKeys | None,
    lora_name: str,
    starts_prompt: bool,
    block_tokens: int,
    key_block_tokens: int,
) -> Keys | None:
    """Extras of the canonical blocks of a span of engine blocks; None when all are 0.

    :param starts_prompt: the span begins at token 0.
    :param block_tokens: engine block, a multiple of `key_block_tokens`.
    """
    if extra_keys is None or not any(extra_keys):
        return None
    per_block = block_tokens // key_block_tokens
    extras = np.zeros(len(extra_keys) * per_block, np.uint64)
    for i, values in enumerate(extra_keys):
        if not values:
            continue
        rest = values[1:] if lora_name and values[0] == lora_name else values
        parts = _parts(rest, starts_prompt and i == 0, block_tokens, key_block_tokens)
        for sub_block, folded in parts.items():
            extras[i * per_block + sub_block] = extra_of(folded)
    return extras if extras.any() else None


def _parts(
    values: Sequence[Any], at_token_0: bool, block_tokens: int, key_block_tokens: int
) -> dict[int, list[bytes]]:
    """Parts to hash, by canonical block within the engine block."""
    parts: dict[int, list[bytes]] = {}
    for value in values:
        match value:
            case [str() as identifier, int() as offset] if offset < block_tokens:
                if offset >= 0:
                    sub_block, within = divmod(offset, key_block_tokens)
                    parts.setdefault(sub_block, []).extend(item_part(identifier, within))
            case str() if at_token_0:
                parts.setdefault(0, []).extend(salt_part(value))
            case bytes():
                parts.setdefault(0, []).extend([b"embeds", value])
            case _:
                parts.setdefault(0, []).extend([b"other", msgspec.msgpack.encode(value)])
    return parts
