"""What the sidecar thinks of its own mirror."""

from dataclasses import dataclass
from enum import IntEnum


class Confidence(IntEnum):
    """How far the mirror can be trusted; values as in proto/types.proto."""

    EXACT = 1
    DEGRADED = 2
    APPROXIMATE = 3


@dataclass(frozen=True, slots=True)
class KvStatus:
    """State after delta `seq` of `epoch`; `reason` is empty when it is EXACT."""

    epoch: int
    seq: int
    confidence: Confidence
    reason: str
    block_count: int
