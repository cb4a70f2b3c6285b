"""Mooncake's traces: JSON lines with the hash ids of each prompt's 512-token blocks.

Equal ids are equal blocks behind equal prefixes. The last block of a prompt may be partial.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from farsight.errors import InvalidField
from sim.arrivals import Times
from sim.lengths import UNBOUNDED, Counts
from sim.seeds import seed_of, seed_space
from sim.tokens import Piece

BLOCK_TOKENS = 512
TICK_S = 3.0

Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1e15)]
InputTokens = Annotated[int, msgspec.Meta(ge=1, le=UNBOUNDED)]
OutputTokens = Annotated[int, msgspec.Meta(ge=0, le=UNBOUNDED)]
HashId = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """One line of a trace."""

    timestamp: Milliseconds
    input_length: InputTokens
    output_length: OutputTokens
    hash_ids: list[HashId]


FIELDS: dict[str, tuple[Any, str]] = {
    "timestamp": (Milliseconds, "milliseconds, a number from 0"),
    "input_length": (InputTokens, "tokens, a whole number from 1"),
    "output_length": (OutputTokens, "tokens, a whole number from 0"),
    "hash_ids": (list[HashId], "a list of whole numbers from 0"),
}


@dataclass(frozen=True, slots=True, eq=False)
class MooncakeTrace:
    """Requests in the order of their time."""

    ticks_s: Times
    """Time of each request, as coarse as the trace has it."""
    input_tokens: Counts
    output_tokens: Counts
    hash_ids: npt.NDArray[np.int64]
    """Of all requests, one after the other."""
    ends: npt.NDArray[np.int64]
    """Where the ids of each request end in `hash_ids`."""

    def spread_times(self, rng: np.random.Generator) -> Times:
        """Requests of equal time spread until the next time, at most over a 3 s tick."""
        _, first, per_tick = np.unique(self.ticks_s, return_index=True, return_counts=True)
        ticks_s = self.ticks_s[first]
        widths_s = np.minimum(np.diff(ticks_s, append=ticks_s[-1] + TICK_S), TICK_S)
        widths_s[per_tick == 1] = 0.0
        jitter_s = np.repeat(widths_s, per_tick) * rng.random(self.ticks_s.size)
        # Sorted as a whole: within a tick, requests keep the order of the trace.
        return np.sort(self.ticks_s + jitter_s)

    def prompts(self) -> Iterator[tuple[Piece, ...]]:
        """The prompt of each request."""
        space = seed_space("mooncake")
        begin = 0
        for end, tokens in zip(self.ends.tolist(), self.input_tokens.tolist(), strict=True):
            ids = self.hash_ids[begin:end].tolist()
            last_tokens = tokens - BLOCK_TOKENS * (len(ids) - 1)
            full = [Piece(seed_of(space, number), BLOCK_TOKENS) for number in ids[:-1]]
            yield (*full, Piece(seed_of(space, ids[-1]), last_tokens))
            begin = end


def read_mooncake(path: Path) -> MooncakeTrace:
    """The whole trace; raises InvalidField with the number of the first bad line."""
    ticks_ms, tokens = array("d"), array("q")
    outputs, ids, counts = array("q"), array("q"), array("q")
    decoder = msgspec.json.Decoder(Line)
    try:
        with path.open("rb") as lines:
            for number, text in enumerate(lines, 1):
                if not text.strip():
                    continue
                line = _line(decoder, number, text)
                ticks_ms.append(line.timestamp)
                tokens.append(line.input_length)
                outputs.append(line.output_length)
                ids.extend(line.hash_ids)
                counts.append(len(line.hash_ids))
    except OSError as error:
        raise InvalidField("trace", f"a readable file ({error.strerror})") from error
    if not counts:
        raise InvalidField("trace", "at least one request")
    return _in_order(
        np.array(ticks_ms) / 1000, np.array(tokens), np.array(outputs), np.array(ids),
        np.array(counts),
    )  # fmt: skip


def _in_order(
    ticks_s: Times, tokens: Counts, outputs: Counts, ids: Counts, counts: Counts
) -> MooncakeTrace:
    ends = np.cumsum(counts)
    order = np.argsort(ticks_s, kind="stable")
    if np.any(np.diff(order) != 1):
        ids = np.concatenate([ids[ends[row] - counts[row] : ends[row]] for row in order])
        ends = np.cumsum(counts[order])
    return MooncakeTrace(ticks_s[order], tokens[order], np.maximum(outputs[order], 1), ids, ends)


def _line(decoder: msgspec.json.Decoder[Line], number: int, text: bytes) -> Line:
    try:
        line = decoder.decode(text)
    except msgspec.DecodeError as error:
        raise _complaint(number, text) from error
    blocks = -(-line.input_length // BLOCK_TOKENS)
    if len(line.hash_ids) != blocks:
        expected = f"{blocks} ids, one for each {BLOCK_TOKENS} tokens of input_length"
        raise InvalidField(f"trace line {number}, hash_ids", expected)
    return line


def _complaint(number: int, text: bytes) -> InvalidField:
    """What is wrong with a line that does not decode."""
    try:
        row = msgspec.json.decode(text)
    except msgspec.DecodeError:
        row = None
    if not isinstance(row, dict):
        return InvalidField(f"trace line {number}", f"a JSON object with {', '.join(FIELDS)}")
    for field in row:
        if field not in FIELDS:
            return InvalidField(f"trace line {number}, {field}", f"one of {', '.join(FIELDS)}")
    for field, (kind, expected) in FIELDS.items():
        try:
            msgspec.convert(row.get(field), kind)
        except msgspec.ValidationError:
            return InvalidField(f"trace line {number}, {field}", expected)
    return InvalidField(f"trace line {number}", f"each of {', '.join(FIELDS)} once")
