"""Compiles or loads every kernel of the mirror, so that no batch waits for it."""

import msgspec

from services.sidecar.changes import ChangeLog
from services.sidecar.events import decode
from services.sidecar.mirror import BlockLayout, Mirror

_LAYOUT = BlockLayout("", 16, 16)
_TOKENS = list(range(32))
_EVENTS = (
    ["BlockStored", [1, 2], None, _TOKENS, 16, None, "GPU"],
    ["BlockStored", [1], None, [], 0, None, "CPU"],
    ["BlockRemoved", [2], "GPU"],
    ["AllBlocksCleared"],
)


def warm() -> None:
    """Takes about a second, or some twenty when nothing is in Numba's cache."""
    mirror, log = Mirror(_LAYOUT, expected_blocks=1), ChangeLog()
    mirror.apply(decode(msgspec.msgpack.encode([0.0, _EVENTS])), log)
    span = ["BlockStored", list(range(1500)), None, list(range(24_000)), 16, None, "GPU"]
    mirror.apply(decode(msgspec.msgpack.encode([0.0, [span]])), log)
    mirror.announce(log)
    mirror.contents()
    Mirror.restore(_LAYOUT, mirror.export())
