"""The live replicas of a service, and one call that moves on when a replica is gone."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from random import random
from typing import Generic, TypeVar

import grpc
import grpc.aio

from farsight.channel import connect
from farsight.discovery import replica_addresses
from farsight.errors import FarsightError

Stub = TypeVar("Stub")
T = TypeVar("T")

AVOID_S = 1.0
# A replica that drains still answers what it was asked before its record went away.
CLOSE_GRACE_S = 5.0


class ReplicasAway(FarsightError):
    """No replica answered; `why` is a label of a counter.

    It is `none`, `timeout`, `unavailable`, `refused` (a replica answered with another status),
    `bad-reply` or `breaker` (not asked, after repeated failures).
    """

    code = grpc.StatusCode.UNAVAILABLE
    reason = "replicas-away"

    def __init__(self, why: str) -> None:
        super().__init__(f"no replica answered: {why}")
        self.why = why


class Connections(Generic[Stub]):
    """A channel and a stub for each address of a set that changes."""

    def __init__(self, make_stub: Callable[[grpc.aio.Channel], Stub]) -> None:
        self._make_stub = make_stub
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._stubs: dict[str, Stub] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def addresses(self) -> tuple[str, ...]:
        """host:port of every replica."""
        return tuple(sorted(self._stubs))

    def stub(self, address: str) -> Stub | None:
        """The stub of an address; None when it is not, or no longer, in the set."""
        return self._stubs.get(address)

    def set_addresses(self, wanted: set[str]) -> None:
        """Connect to new replicas, drop those that are gone."""
        for address in wanted - self._stubs.keys():
            channel = self._channels[address] = connect(address)
            channel.get_state(try_to_connect=True)
            self._stubs[address] = self._make_stub(channel)
        for address in self._stubs.keys() - wanted:
            del self._stubs[address]
            task = asyncio.create_task(self._channels.pop(address).close(CLOSE_GRACE_S))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close every channel."""
        self.set_addresses(set())
        await asyncio.gather(*self._closing)


class ReplicaPool(Generic[Stub]):
    """Stubs of every replica of one kind, kept current by `etcd.watch(prefix, pool.update)`."""

    def __init__(self, make_stub: Callable[[grpc.aio.Channel], Stub]) -> None:
        self._connections = Connections(make_stub)
        self._avoid_until_s: dict[str, float] = {}
        self._preferred = ""
        self._salt = random()  # callers spread over the replicas

    @property
    def addresses(self) -> tuple[str, ...]:
        """host:port of every replica."""
        return self._connections.addresses

    def update(self, services: Mapping[str, bytes]) -> None:
        """Take the records under a service prefix of etcd."""
        self.set_addresses(replica_addresses(services))

    def set_addresses(self, wanted: set[str]) -> None:
        """Connect to new replicas, drop those that are gone."""
        self._connections.set_addresses(wanted)
        for address in self._avoid_until_s.keys() - wanted:
            del self._avoid_until_s[address]

    def _order(self) -> list[str]:
        """Replicas to try: the one that answered last first, those that failed lately last."""
        now = time.monotonic()
        return sorted(
            self._connections.addresses,
            key=lambda a: (
                self._avoid_until_s.get(a, 0) > now,
                a != self._preferred,
                hash((self._salt, a)),
            ),
        )

    async def call(self, ask: Callable[[Stub], Awaitable[T]], budget_s: float) -> T:
        """Ask one replica, and the next one when it is unreachable or refuses, within the budget.

        :raises ReplicasAway: none is known, none answered, or the budget ran out.
        """
        why = "none"
        deadline = time.monotonic() + budget_s
        for address in self._order():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise ReplicasAway("timeout")
            stub = self._connections.stub(address)
            if stub is None:
                continue  # dropped while another one was asked
            try:
                async with asyncio.timeout(left_s):
                    answer = await ask(stub)
                self._preferred = address
                return answer
            except TimeoutError:
                self._avoid_until_s[address] = time.monotonic() + AVOID_S
                raise ReplicasAway("timeout") from None
            except grpc.aio.AioRpcError as error:
                self._avoid_until_s[address] = time.monotonic() + AVOID_S
                gone = error.code() is grpc.StatusCode.UNAVAILABLE
                why = "unavailable" if gone else "refused"
        raise ReplicasAway(why)

    async def close(self) -> None:
        """Close every channel."""
        await self._connections.close()
