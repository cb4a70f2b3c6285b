"""The form of a fuzz input: a program of steps, each a number and bytes.

Any bytes are a program, so that a fuzzer may change them blindly: what is cut short ends it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

MAX_STEPS = 64
MAX_PAYLOAD_BYTES = 0xFFFF


@dataclass(frozen=True, slots=True)
class Step:
    """One message or action; `kind` is 0 to 255, what it means is the target's."""

    kind: int
    payload: bytes = b""


def encode(steps: Iterable[Step]) -> bytes:
    """The steps as bytes; long payloads are cut."""
    out = bytearray()
    for step in steps:
        payload = step.payload[:MAX_PAYLOAD_BYTES]
        out += bytes([step.kind]) + len(payload).to_bytes(2, "little") + payload
    return bytes(out)


def decode(data: bytes) -> list[Step]:
    """The steps, at most MAX_STEPS."""
    steps: list[Step] = []
    at = 0
    while at + 3 <= len(data) and len(steps) < MAX_STEPS:
        size = int.from_bytes(data[at + 1 : at + 3], "little")
        steps.append(Step(data[at], data[at + 3 : at + 3 + size]))
        at += 3 + size
    return steps
