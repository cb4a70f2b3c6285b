"""Decodes one frame body of an engine's KV-event stream into the columns of a batch.

Two forms are read: maps with a `type` key (vLLM 0.32 and later) and positional arrays with the tag
in front (older vLLM, SGLang, TensorRT-LLM). Unknown keys and trailing fields are skipped, events
with an unknown tag are counted and left out. A block hash is known by its low 64 bits: a number
modulo 2^64, or the last 8 bytes of a digest, which name the same block. Nothing but BadEvents
leaves `decode`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from farsight.errors import FarsightError
from farsight.keys import Keys, Tokens
from services.sidecar.event_kernels import DECODED, TRUNCATED, begin, read_values, scan
from services.sidecar.event_rows import EVENT, FIELDS

MAX_FRAME_BYTES = 32 * 1024 * 1024

_time = msgspec.msgpack.Decoder(float)
_extras = msgspec.msgpack.Decoder(list[list[Any] | None])
_EMPTY = np.zeros(0, EVENT)


class BadEvents(FarsightError):
    """A batch that cannot be decoded; `kind` is a label of a counter."""

    reason = "bad-events"

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"KV events not decodable ({kind}): {detail}")
        self.kind = kind
        self.detail = detail


class EventKind(IntEnum):
    """What an event says; values as in the column `kind`."""

    STORED = 0  # a span of blocks is in the cache
    REMOVED = 1  # one copy of each block has left
    CLEARED = 2  # the device cache was reset; other tiers are not meant


@dataclass(frozen=True, slots=True)
class Beside:
    """What a stored span tells beside its tokens; `extra_keys` has an entry per block."""

    lora_name: str
    extra_keys: list[list[Any] | None] | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one engine step.

    :param engine_unix_s: the engine's wall clock.
    :param rows: a row of `EVENT` per event, in order.
    :param hashes: of all events; `first_hash` and `hashes` of a row say which are its own.
    :param tokens: of all events, in the same way.
    :param beside: by row, for those that have an adapter or extras.
    :param unknown: events with an unknown tag.
    """

    engine_unix_s: float
    rows: npt.NDArray[np.void]
    hashes: Keys
    tokens: Tokens
    beside: Mapping[int, Beside]
    unknown: int

    @property
    def kind_counts(self) -> dict[EventKind, int]:
        """Events of each kind."""
        counts = np.bincount(self.rows["kind"], minlength=len(EventKind)).tolist()
        return {kind: counts[kind] for kind in EventKind if counts[kind]}


def decode(body: bytes) -> Batch:
    """Decode one body.

    :raises BadEvents: it is too large, truncated, or breaks the schema or a bound.
    """
    if len(body) > MAX_FRAME_BYTES:
        raise BadEvents("too-large", f"{len(body)} bytes, expected at most {MAX_FRAME_BYTES}")
    buf = np.frombuffer(body, np.uint8)
    result, time_at, events_at, count, tail = begin(buf)
    _check(result, "the batch")
    rows = np.zeros(count, EVENT) if count else _EMPTY
    fields = np.empty(len(FIELDS), np.int64)
    result, known, hash_count, token_count, beside_count = scan(buf, events_at, tail, rows, fields)
    _check(result, "its events")
    rows = rows[:known]
    hashes = np.empty(hash_count, np.uint64)
    tokens = np.empty(token_count, np.uint32)
    _check(read_values(buf, rows, hashes, tokens), "hashes or tokens")
    try:
        engine_unix_s = _time.decode(body[time_at:events_at])
        beside = _read_beside(body, rows) if beside_count else {}
    except msgspec.ValidationError as error:
        raise BadEvents("schema", str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, OverflowError) as error:
        raise BadEvents("msgpack", str(error)) from error
    except RecursionError as error:
        raise BadEvents("nesting", "nested too deeply") from error
    return Batch(engine_unix_s, rows, hashes, tokens, beside, count - known)


def _check(result: int, what: str) -> None:
    if result == DECODED:
        return
    if result == TRUNCATED:
        raise BadEvents("msgpack", f"{what}: truncated, or no msgpack")
    raise BadEvents("schema", f"{what}: a value of another type, or out of bounds")


def _read_beside(body: bytes, rows: npt.NDArray[np.void]) -> dict[int, Beside]:
    has_any = (rows["lora_at"] | rows["extras_at"]) != 0
    found = {}
    for i in np.flatnonzero(has_any).tolist():
        row = rows[i]
        lora = body[row["lora_at"] : row["lora_end"]].decode()
        extras = body[row["extras_at"] : row["extras_end"]]
        found[i] = Beside(lora, _extras.decode(extras) if extras else None)
    return found
