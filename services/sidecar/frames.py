"""The ZMQ multipart messages of an engine's KV-event stream.

PUB: `[topic, seq, body]`. Replay request on a DEALER: `["", start]`. Replay answers: `["", topic,
seq, body]`, or without the topic from older engines; the last one carries seq -1. Sequence numbers
are unsigned 64-bit big-endian and start at 0.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

_END = b"\xff" * 8
_FLOAT64 = 0xCB


@dataclass(frozen=True, slots=True)
class Frame:
    """One batch as it came: its sequence number and its undecoded body."""

    seq: int
    body: bytes

    @property
    def engine_unix_s(self) -> float | None:
        """Wall clock of the engine at the batch, without decoding it; None when it is not there."""
        body = self.body
        if len(body) < 10 or not 0x92 <= body[0] <= 0x9F or body[1] != _FLOAT64:
            return None
        (seconds,) = struct.unpack_from(">d", body, 2)
        return float(seconds)


@dataclass(frozen=True, slots=True)
class EndOfReplay:
    """The engine has sent all that it retains."""


def parse_published(message: Sequence[bytes]) -> Frame | None:
    """A message of the PUB stream; None when it has another shape."""
    if len(message) != 3 or len(message[1]) != 8:
        return None
    return Frame(int.from_bytes(message[1], "big"), message[2])


def parse_replayed(message: Sequence[bytes]) -> Frame | EndOfReplay | None:
    """A replay answer as a DEALER sees it; None when it has another shape."""
    if len(message) not in (3, 4) or message[0] or len(message[-2]) != 8:
        return None
    if message[-2] == _END:
        return EndOfReplay()
    return Frame(int.from_bytes(message[-2], "big"), message[-1])


def replay_request(start: int) -> tuple[bytes, bytes]:
    """Asks for every retained batch from sequence number `start` on."""
    return b"", start.to_bytes(8, "big")
