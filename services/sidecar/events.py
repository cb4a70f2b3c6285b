"""Decodes one frame body of an engine's KV-event stream into typed events.

Two forms are read: maps with a `type` key (vLLM 0.32 and later) and positional arrays with the tag
in front (older vLLM, SGLang, TensorRT-LLM). Unknown keys and trailing fields are skipped, events
with an unknown tag are counted and left out. Nothing but BadEvents leaves `decode`.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Raw, Struct

from farsight.errors import FarsightError

MAX_FRAME_BYTES = 32 * 1024 * 1024
MAX_EVENTS = 100_000
MAX_HASHES = 1 << 20
MAX_TOKENS = 1 << 22
MAX_BLOCK_TOKENS = 1 << 16
MAX_TEXT = 4096

BlockHash = int | bytes
WireHash = int | Annotated[bytes, Meta(max_length=64)]
Hashes = Annotated[list[WireHash], Meta(max_length=MAX_HASHES)]
Token = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]


class BadEvents(FarsightError):
    """A batch that cannot be decoded; `kind` is a label of a counter."""

    reason = "bad-events"

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"KV events not decodable ({kind}): {detail}")
        self.kind = kind
        self.detail = detail


class BlockStored(Struct, frozen=True, gc=False):
    """A span of blocks is in the cache; `extra_keys` has one entry per block, or is None."""

    kind: ClassVar[str] = "stored"
    block_hashes: Hashes
    parent_block_hash: WireHash | None = None
    token_ids: Annotated[list[Token], Meta(max_length=MAX_TOKENS)] = []
    block_size: Annotated[int, Meta(ge=0, le=MAX_BLOCK_TOKENS)] = 0
    lora_id: int | None = None
    medium: Text | None = None
    lora_name: Text | None = None
    extra_keys: Annotated[list[list[Any] | None], Meta(max_length=MAX_HASHES)] | None = None
    group_idx: int | None = None
    kv_cache_spec_kind: Text | None = None
    kv_cache_spec_sliding_window: int | None = None
    locality: Text | None = None
    ownership: Text | None = None


class BlockRemoved(Struct, frozen=True, gc=False):
    """One copy of each block has left the cache."""

    kind: ClassVar[str] = "removed"
    block_hashes: Hashes
    medium: Text | None = None
    group_idx: int | None = None
    locality: Text | None = None
    ownership: Text | None = None


class AllBlocksCleared(Struct, frozen=True, gc=False):
    """The engine's device cache was reset; other tiers are not meant."""

    kind: ClassVar[str] = "cleared"


Event = BlockStored | BlockRemoved | AllBlocksCleared


class _StoredMap(BlockStored, frozen=True, gc=False, tag_field="type", tag="BlockStored"):
    pass


class _RemovedMap(BlockRemoved, frozen=True, gc=False, tag_field="type", tag="BlockRemoved"):
    pass


class _ClearedMap(
    AllBlocksCleared, frozen=True, gc=False, tag_field="type", tag="AllBlocksCleared"
):
    pass


class _StoredArray(BlockStored, frozen=True, gc=False, array_like=True, tag="BlockStored"):
    pass


class _RemovedArray(BlockRemoved, frozen=True, gc=False, array_like=True, tag="BlockRemoved"):
    pass


class _ClearedArray(
    AllBlocksCleared, frozen=True, gc=False, array_like=True, tag="AllBlocksCleared"
):
    pass


class _Batch(Struct, frozen=True, gc=False, array_like=True):
    ts: float
    events: Annotated[list[Raw], Meta(max_length=MAX_EVENTS)]


class _TagMap(Struct, frozen=True, gc=False):
    type: Text


class _TagArray(Struct, frozen=True, gc=False, array_like=True):
    type: Text


_batch = msgspec.msgpack.Decoder(_Batch)
_as_map = msgspec.msgpack.Decoder(_StoredMap | _RemovedMap | _ClearedMap)
_as_array = msgspec.msgpack.Decoder(_StoredArray | _RemovedArray | _ClearedArray)
_tag_map = msgspec.msgpack.Decoder(_TagMap)
_tag_array = msgspec.msgpack.Decoder(_TagArray)
_KNOWN_TAGS = frozenset({"BlockStored", "BlockRemoved", "AllBlocksCleared"})


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one engine step.

    `engine_unix_s` is the engine's wall clock; `unknown` counts events with an unknown tag.
    """

    engine_unix_s: float
    events: tuple[Event, ...]
    unknown: int


def decode(body: bytes) -> Batch:
    """Decode one body.

    :raises BadEvents: it is too large, truncated, or breaks the schema or a bound.
    """
    if len(body) > MAX_FRAME_BYTES:
        raise BadEvents("too-large", f"{len(body)} bytes, expected at most {MAX_FRAME_BYTES}")
    try:
        batch = _batch.decode(body)
        events = [event for raw in batch.events if (event := _event(raw)) is not None]
    except msgspec.ValidationError as error:
        raise BadEvents("schema", str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, OverflowError) as error:
        raise BadEvents("msgpack", str(error)) from error
    except RecursionError as error:
        raise BadEvents("nesting", "nested too deeply") from error
    return Batch(batch.ts, tuple(events), len(batch.events) - len(events))


def _event(raw: Raw) -> Event | None:
    """One event; None when its tag is unknown."""
    first = memoryview(raw)[0]
    is_array = 0x90 <= first <= 0x9F or first in (0xDC, 0xDD)
    try:
        event: Event = _as_array.decode(raw) if is_array else _as_map.decode(raw)
    except msgspec.ValidationError:
        tag = (_tag_array if is_array else _tag_map).decode(raw).type
        if tag in _KNOWN_TAGS:
            raise
        return None
    return event
