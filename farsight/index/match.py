"""What the index answers, and the interface through which the router asks it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from farsight.keys import Keys
from farsight.pb import types_pb2

Counts = npt.NDArray[np.uint32]


class Confidence(IntEnum):
    """How far the index can be trusted for one endpoint; values are those of the proto."""

    UNSPECIFIED = types_pb2.CONFIDENCE_UNSPECIFIED
    EXACT = types_pb2.CONFIDENCE_EXACT
    DEGRADED = types_pb2.CONFIDENCE_DEGRADED
    APPROXIMATE = types_pb2.CONFIDENCE_APPROXIMATE


@dataclass(frozen=True, slots=True)
class Matches:
    """Columns over endpoints: contiguous prefix per tier, in canonical blocks.

    `host_blocks` continue `device_blocks`, `storage_blocks` continue both. `age_ms` is the time
    since the endpoint's stream was last known to be whole.
    """

    endpoint_ids: tuple[str, ...]
    device_blocks: Counts
    host_blocks: Counts
    storage_blocks: Counts
    age_ms: Counts
    confidence: npt.NDArray[np.uint8]

    @classmethod
    def nothing(cls) -> "Matches":
        """No endpoint is known."""
        none = np.empty(0, np.uint32)
        return cls((), none, none, none, none, np.empty(0, np.uint8))


class IndexReader(Protocol):
    """Where the router learns prefixes: a gRPC client or an embedded index."""

    async def match(self, keys: Keys, endpoint_ids: Sequence[str]) -> Matches:
        """Longest contiguous prefix of each endpoint; unknown endpoints are left out.

        :raises FarsightError: the index cannot answer now.
        """
        ...
