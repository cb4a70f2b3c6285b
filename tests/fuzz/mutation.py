"""Changes inputs: steps of a program, values inside a message, and plain bytes."""

from collections.abc import Sequence
from random import Random

from tests.fuzz.program import MAX_STEPS, Step, decode, encode
from tests.fuzz.target import Target

NUMBERS = (
    *(0, 1, 2, 7, 8, 15, 16, 17, 31, 32, 127, 128, 254, 255, 256, 4095, 4096, 65535, 65536),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1),
)


def mutate(data: bytes, others: Sequence[bytes], target: Target, rng: Random) -> bytes:
    """A changed program; `others` lend their steps."""
    steps = decode(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        if not steps or rng.random() < 0.3:
            _change_steps(steps, decode(rng.choice(others)), rng)
        else:
            at = rng.randrange(len(steps))
            step = steps[at]
            changed = target.mutate if rng.random() < 0.7 else _of_bytes
            steps[at] = Step(step.kind, changed(step, rng))
    return encode(steps[:MAX_STEPS])


def _change_steps(steps: list[Step], others: Sequence[Step], rng: Random) -> None:
    at = rng.randint(0, len(steps))
    match rng.randrange(6):
        case 0 if others:
            steps.insert(at, rng.choice(others))
        case 1 if others:
            steps[at:] = others[rng.randrange(len(others)) :]
        case 2 if steps:
            del steps[rng.randrange(len(steps))]
        case 3 if steps:
            steps.insert(at, rng.choice(steps))
        case 4 if len(steps) > 1:
            i, j = rng.sample(range(len(steps)), 2)
            steps[i], steps[j] = steps[j], steps[i]
        case 5 if steps:
            i = rng.randrange(len(steps))
            steps[i] = Step(rng.randrange(12), steps[i].payload)


def _of_bytes(step: Step, rng: Random) -> bytes:
    return bytes_changed(step.payload, rng)


def bytes_changed(data: bytes, rng: Random) -> bytes:
    """Some bytes are set, cut, repeated or put in."""
    changed = bytearray(data)
    at = rng.randint(0, len(changed))
    end = min(len(changed), at + rng.choice((1, 1, 2, 4, 8, 64)))
    match rng.randrange(6):
        case 0 if at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        case 1 if at < len(changed):
            changed[at] = rng.choice((0, 1, 0x7F, 0x80, 0x90, 0xC0, 0xC1, 0xCF, 0xDD, 0xFF))
        case 2:
            del changed[at:]
        case 3:
            del changed[at:end]
        case 4:
            changed[at:at] = changed[at:end] * rng.randint(1, 8)
        case _:
            changed[at:at] = rng.randbytes(rng.choice((1, 2, 4, 8, 9)))
    return bytes(changed)


def number(rng: Random) -> int:
    """A number near a limit of some type, or a small one."""
    if rng.random() < 0.3:
        return rng.randrange(64)
    return rng.choice(NUMBERS) * rng.choice((1, 1, 1, -1))
