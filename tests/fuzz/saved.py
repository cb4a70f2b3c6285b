"""Target `saved`: mirrors that a sidecar finds in the object store.

A step is the state of a mirror as msgpack; its checksum is made to fit, so that what it protects
from is tried as well. What is taken from it has to work as a mirror.
"""

import zlib
from collections.abc import Iterable
from contextlib import suppress
from random import Random

import msgspec
import numpy as np

from farsight.errors import BadRecord
from services.sidecar import mirror_state
from services.sidecar.changes import ChangeLog
from services.sidecar.events import decode
from services.sidecar.mirror import BlockLayout, Mirror
from tests.fuzz import decoder, program
from tests.fuzz.program import Step
from tests.fuzz.target import Target
from tests.fuzz.values import msgpack_changed

LAYOUT = BlockLayout("model", 16, 16)
BODIES = [step.payload for seed in decoder.SEEDS for step in program.decode(seed)]


def run(data: bytes) -> None:
    """A state is refused, or the mirror goes on from it."""
    for step in program.decode(data):
        body = step.payload
        head = bytes((mirror_state.FORMAT,)) + zlib.crc32(body).to_bytes(4, "big")
        with suppress(BadRecord):
            mirror = Mirror.restore(LAYOUT, mirror_state.decode(head + body), expected_blocks=1)
            _go_on(mirror)


def _go_on(mirror: Mirror) -> None:
    """Everything that is asked of a mirror, before and after more events."""
    for bodies in ((), BODIES):
        log = _followed(mirror, bodies)
        mirror.announce(log)
        log.take()
        contents = mirror.contents()
        assert mirror.block_count == sum(part.keys.size for part in contents)
        for part in contents:
            assert int(part.position_counts.sum()) == part.keys.size == np.unique(part.keys).size
    mirror.check_integrity()


def _followed(mirror: Mirror, bodies: Iterable[bytes]) -> ChangeLog:
    log = ChangeLog()
    for body in bodies:
        mirror.apply(decode(body), log)
    log.take()
    return log


def mutate(step: Step, rng: Random) -> bytes:
    """A value of the state, or an item in one of its arrays, is another one."""
    return msgpack_changed(step.payload, rng)


def _seed(bodies: Iterable[bytes]) -> bytes:
    mirror = Mirror(LAYOUT, expected_blocks=1)
    _followed(mirror, bodies)
    return program.encode([Step(0, msgspec.msgpack.encode(mirror.export()))])


TARGET = Target(name="saved", seeds=[_seed(BODIES[:2]), _seed(BODIES)], run=run, mutate=mutate)
