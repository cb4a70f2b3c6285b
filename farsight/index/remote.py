"""The gRPC twin of the index client."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from farsight.errors import InvalidField
from farsight.guarded import GuardedPool
from farsight.index.match import Matches
from farsight.keys import Keys, pack
from farsight.pb.index_pb2 import MatchReply, MatchRequest
from farsight.replicas import ReplicaPool

if TYPE_CHECKING:
    from farsight.pb.index_pb2_grpc import IndexAsyncStub


class RemoteIndex:
    """Asks the indexer replicas that a pool knows."""

    def __init__(self, replicas: "ReplicaPool[IndexAsyncStub]", budget_s: float) -> None:
        self._indexers = GuardedPool(replicas, budget_s)

    async def match(self, keys: Keys, endpoint_ids: Sequence[str]) -> Matches:
        """Longest contiguous prefix of each endpoint.

        :raises ReplicasAway: no indexer answered; `why` as GuardedPool gives it.
        """
        request = MatchRequest(keys=pack(keys), endpoint_ids=endpoint_ids)
        return await self._indexers.ask(lambda stub: stub.Match(request), decode)


def decode(reply: MatchReply) -> Matches:
    """Columns from a reply.

    :raises InvalidField: the columns differ in length.
    """
    rows = len(reply.endpoint_ids)
    device = np.array(reply.device_blocks, np.uint32)
    host = np.array(reply.host_blocks, np.uint32)
    storage = np.array(reply.storage_blocks, np.uint32)
    age_ms = np.array(reply.age_ms, np.uint32)
    confidence = np.array(reply.confidence, np.int32).clip(0, 255).astype(np.uint8)
    if {device.size, host.size, storage.size, age_ms.size, confidence.size} != {rows}:
        raise InvalidField("endpoint_ids", "columns of equal length")
    return Matches(tuple(reply.endpoint_ids), device, host, storage, age_ms, confidence)
