"""Target `frames`: the parts of ZMQ messages, from the PUB stream and from replays.

A step is one multipart message; its parts are a program of their own.
"""

from collections.abc import Sequence
from random import Random

from services.sidecar.frames import (
    EndOfReplay,
    Frame,
    parse_published,
    parse_replayed,
    replay_request,
)
from tests.fuzz.mutation import bytes_changed
from tests.fuzz.program import Step, decode, encode
from tests.fuzz.target import Target

BODY = b"\x93\xcb" + bytes(8) + b"\x90\x00"
MESSAGES = (
    (b"", bytes(8), BODY),
    (b"kv@10.0.0.1:8000@model", (812).to_bytes(8, "big"), BODY),
    (b"", b"kv", (7).to_bytes(8, "big"), BODY),
    (b"", (2**64 - 2).to_bytes(8, "big"), BODY),
    (b"", b"", b"\xff" * 8, b""),
)


def _program(message: Sequence[bytes]) -> bytes:
    return encode(Step(0, part) for part in message)


def run(data: bytes) -> None:
    """Whatever comes is a frame, the end of a replay, or nothing."""
    for step in decode(data):
        message = [part.payload for part in decode(step.payload)]
        for found in (parse_published(message), parse_replayed(message)):
            if isinstance(found, Frame):
                assert 0 <= found.seq < 1 << 64
                assert found.body == message[-1]
                assert replay_request(found.seq)[1] == message[-2]
                assert found.engine_unix_s is None or isinstance(found.engine_unix_s, float)
            else:
                assert found is None or isinstance(found, EndOfReplay)


def mutate(step: Step, rng: Random) -> bytes:
    """One part is changed, put in or left out."""
    parts = decode(step.payload)
    at = rng.randint(0, len(parts))
    if at == len(parts) or rng.random() < 0.2:
        parts.insert(at, Step(0, rng.choice((b"", bytes(8), b"\xff" * 8, BODY))))
    elif rng.random() < 0.2:
        del parts[at]
    else:
        parts[at] = Step(0, bytes_changed(parts[at].payload, rng))
    return encode(parts)


TARGET = Target(
    name="frames",
    seeds=[encode(Step(0, _program(message)) for message in MESSAGES)],
    run=run,
    mutate=mutate,
)
