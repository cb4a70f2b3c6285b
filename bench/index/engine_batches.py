"""Batches of KV events as vLLM 0.32 sends them, in map form, and how many blocks are in each.

A batch is one scheduler step: a chunk of prefill of SPANS spans of SPAN_BLOCKS blocks, and
DECODE_EVENTS requests that have filled one more block while decoding. A request is SPANS_A_PROMPT
spans long before it decodes. A steady engine also removes as many blocks as it stores, one event a
block, the oldest first.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

BLOCK_TOKENS = 16
SPAN_BLOCKS = 32
SPANS_A_PROMPT = 8
SPANS = 4
DECODE_EVENTS = 8
_DECODING = 64
_HASHES = 1 << 63


@dataclass(frozen=True, slots=True)
class Batches:
    """`blocks[i]` counts the changed blocks of `bodies[i]`."""

    bodies: list[bytes]
    blocks: list[int]


def stored(hashes: list[int], parent: int | None, tokens: list[int]) -> dict[str, Any]:
    """A BlockStored event."""
    return {
        "type": "BlockStored",
        "block_hashes": hashes,
        "parent_block_hash": parent,
        "token_ids": tokens,
        "block_size": BLOCK_TOKENS,
        "lora_id": None,
        "medium": "GPU",
        "lora_name": None,
        "extra_keys": [None] * len(hashes),
        "group_idx": 0,
        "kv_cache_spec_kind": "full_attention",
    }


def removed(block: int) -> dict[str, Any]:
    """A BlockRemoved event."""
    return {"type": "BlockRemoved", "block_hashes": [block], "medium": "GPU", "group_idx": 0}


class Engine:
    """Makes the events of one batch after the other."""

    def __init__(self, seed: int, spans: int, decode_events: int, max_blocks: int | None) -> None:
        self._random = np.random.default_rng(seed)
        self._spans = spans
        self._decode_events = decode_events
        self._max_blocks = max_blocks
        self._prompt: list[int] = []
        self._decoding: deque[int] = deque(maxlen=_DECODING)
        self._held: deque[int] = deque()

    def events(self) -> Iterator[dict[str, Any]]:
        """Of one scheduler step."""
        for _ in range(self._spans):
            parent = self._prompt[-1] if self._prompt else None
            yield self._store(SPAN_BLOCKS, parent)
            self._prompt.append(self._held[-1])
            if len(self._prompt) == SPANS_A_PROMPT:
                self._decoding.append(self._prompt[-1])
                self._prompt = []
        for _ in range(self._decode_events if self._decoding else 0):
            yield self._store(1, self._decoding[0])
            self._decoding.popleft()
            self._decoding.append(self._held[-1])
        while self._max_blocks is not None and len(self._held) > self._max_blocks:
            yield removed(self._held.popleft())

    def _store(self, count: int, parent: int | None) -> dict[str, Any]:
        hashes = self._random.integers(1, _HASHES, count).tolist()
        tokens = self._random.integers(0, 150_000, count * BLOCK_TOKENS).tolist()
        self._held.extend(hashes)
        return stored(hashes, parent, tokens)


def build(
    count: int,
    *,
    spans: int = SPANS,
    decode_events: int = DECODE_EVENTS,
    max_blocks: int | None = None,
) -> Batches:
    """So many batches of a new engine.

    :param max_blocks: blocks that fit into its cache; None: nothing is ever removed.
    """
    engine = Engine(3, spans, decode_events, max_blocks)
    bodies, blocks = [], []
    for number in range(count):
        events = list(engine.events())
        bodies.append(msgspec.msgpack.encode([float(number), events, 0]))
        blocks.append(sum(len(event["block_hashes"]) for event in events))
    return Batches(bodies, blocks)
