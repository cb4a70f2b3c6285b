"""The indexer replicas as gRPC peers: one call, its failure named, whom to avoid a while."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import grpc.aio
import numpy as np
from grpc import StatusCode

from farsight.breaker import Breaker
from farsight.errors import InvalidField
from farsight.index.match import Matches
from farsight.pb.index_pb2 import MatchReply, MatchRequest
from farsight.pb.index_pb2_grpc import IndexStub
from farsight.replicas import AVOID_S, Connections

if TYPE_CHECKING:
    from farsight.pb.index_pb2_grpc import IndexAsyncStub

_WHY = {
    StatusCode.UNAVAILABLE: "unavailable",
    StatusCode.CANCELLED: "unavailable",
    StatusCode.DEADLINE_EXCEEDED: "timeout",
}


class Peers:
    """Connections to the indexers, with a breaker for each."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._connections: Connections[IndexAsyncStub] = Connections(IndexStub)
        self._breakers: dict[str, Breaker] = {}
        self._avoid_until_s: dict[str, float] = {}

    def set_addresses(self, addresses: Iterable[str]) -> None:
        """Connect to new replicas, drop those that are gone."""
        wanted = set(addresses)
        self._connections.set_addresses(wanted)
        self._breakers = {a: self._breakers.get(a) or Breaker() for a in wanted}
        self._avoid_until_s = {a: s for a, s in self._avoid_until_s.items() if a in wanted}

    def avoided(self) -> frozenset[str]:
        """Addresses that failed moments ago."""
        if not self._avoid_until_s:
            return frozenset()
        now_s = self.clock()
        self._avoid_until_s = {a: s for a, s in self._avoid_until_s.items() if s > now_s}
        return frozenset(self._avoid_until_s)

    async def ask(self, address: str, request: MatchRequest, timeout_s: float) -> Matches | str:
        """What a replica answers, or why it did not: a reason of `ReplicasAway`."""
        stub = self._connections.stub(address)
        breaker = self._breakers.get(address)
        if stub is None or breaker is None:
            return "unavailable"  # it left while another one was asked
        if timeout_s <= 0:
            return "timeout"
        if not breaker.allows(self.clock()):
            return "breaker"
        try:
            answer = decode(await stub.Match(request, timeout=timeout_s))
        except grpc.aio.AioRpcError as error:
            why = _WHY.get(error.code(), "refused")
        except InvalidField:
            why = "bad-reply"
        else:
            breaker.succeeded()
            self._avoid_until_s.pop(address, None)
            return answer
        breaker.failed(self.clock())
        self._avoid_until_s[address] = self.clock() + AVOID_S
        return why

    async def close(self) -> None:
        """Close every channel."""
        await self._connections.close()


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
