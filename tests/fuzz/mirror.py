"""Target `mirror`: bodies of KV-event batches, decoded and followed by a mirror.

A step is one body, but for the kinds below.
"""

from typing import Any

import numpy as np

from farsight.keys import unpack
from services.sidecar import mirror_state
from services.sidecar.changes import Action, ChangeLog
from services.sidecar.mirror import BlockLayout, Mirror
from tests.fuzz import decoder, program
from tests.fuzz.program import Step
from tests.fuzz.target import Target

RESTART, LOSE, TAKE = 9, 10, 11
MAX_BLOCKS = 2048


def run(data: bytes) -> None:
    """Nothing leaves the mirror, and what it tells as changes adds up to what it holds."""
    steps = program.decode(data)
    layout = BlockLayout("model", 16 * (1 + len(steps) % 2), 16)
    options: dict[str, Any] = {
        "max_blocks": MAX_BLOCKS,
        "count_copies": len(data) % 2 == 0,
        "offload_chunk_blocks": 1 + len(data) % 3,
        "drops_last_block": len(data) % 5 == 0,
        "expected_blocks": 1,
    }
    mirror, log, told = Mirror(layout, **options), ChangeLog(), Told()
    for step in steps:
        if step.kind == LOSE:
            mirror.lose("gap")
        elif step.kind == TAKE:
            told.take(log)
        elif step.kind == RESTART:
            state = mirror_state.decode(mirror_state.encode(mirror.export()))
            mirror = Mirror.restore(layout, state, **options)
        elif (batch := decoder.decoded(step.payload)) is not None:
            mirror.apply(batch, log)
    told.take(log)
    told.check(mirror)
    mirror.check_integrity()


class Told:
    """What an index knows that was told every change."""

    def __init__(self) -> None:
        self._held: dict[tuple[int, int], set[int]] = {}

    def take(self, log: ChangeLog) -> None:
        """Follow the changes since the last call."""
        for change in log.take():
            keys = unpack(change.keys, "keys").tolist()
            if change.action is Action.CLEAR:
                self._held = {at: held for at, held in self._held.items() if at[0] != change.tier}
                continue
            held = self._held.setdefault((change.tier, change.group), set())
            if change.action is Action.STORE:
                assert sum(change.spans[1::2]) == len(keys)
                held.update(keys)
            else:
                held.difference_update(keys)

    def check(self, mirror: Mirror) -> None:
        """It is what the mirror holds."""
        contents = mirror.contents()
        holds = {(part.tier, part.group): part.keys.tolist() for part in contents}
        assert {at: set(keys) for at, keys in holds.items()} == {
            at: held for at, held in self._held.items() if held
        }
        assert mirror.block_count == sum(map(len, holds.values()))
        for part in contents:
            assert int(part.position_counts.sum()) == part.keys.size == np.unique(part.keys).size
        assert isinstance(mirror.reason, str)
        assert len(mirror.kv_groups) <= 64


def _interrupted() -> bytes:
    """Another sidecar in the middle, then something is lost."""
    steps = program.decode(decoder.SEEDS[0])
    return program.encode([*steps[:4], Step(RESTART), *steps[4:], Step(TAKE), Step(LOSE), *steps])


TARGET = Target(
    name="mirror", seeds=[*decoder.SEEDS, _interrupted()], run=run, mutate=decoder.mutate
)
