"""What the sidecar thinks of its own mirror."""

from dataclasses import dataclass
from enum import IntEnum

from services.sidecar.kv_groups import KvGroupRule


class Confidence(IntEnum):
    """How far the mirror can be trusted; values as in proto/types.proto."""

    EXACT = 1
    DEGRADED = 2
    APPROXIMATE = 3


@dataclass(frozen=True, slots=True)
class KvStatus:
    """State after delta `seq` of `epoch`; `reason` is empty when it is EXACT.

    `groups` are the KV groups beside group 0; `without_prefix_group` says that group 0 is empty.
    """

    epoch: int
    seq: int
    confidence: Confidence
    reason: str
    block_count: int
    groups: tuple[KvGroupRule, ...] = ()
    without_prefix_group: bool = False
