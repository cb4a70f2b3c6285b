"""Calls to a replica pool behind a budget and a breaker."""

import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from farsight.breaker import Breaker
from farsight.errors import InvalidField
from farsight.replicas import ReplicaPool, ReplicasAway

Stub = TypeVar("Stub")
Reply = TypeVar("Reply")
T = TypeVar("T")


class GuardedPool(Generic[Stub]):
    """Asks within a budget; after repeated failures nobody is asked for a moment."""

    def __init__(self, replicas: ReplicaPool[Stub], budget_s: float) -> None:
        self._replicas = replicas
        self._budget_s = budget_s
        self._breaker = Breaker()

    async def ask(
        self, call: Callable[[Stub], Awaitable[Reply]], decode: Callable[[Reply], T]
    ) -> T:
        """One decoded answer.

        :raises ReplicasAway: none came; `why` is `breaker` while that is open, `bad-reply` when the
            answer does not decode.
        """
        if not self._breaker.allows(time.monotonic()):
            raise ReplicasAway("breaker")
        try:
            answer = decode(await self._replicas.call(call, self._budget_s))
        except InvalidField as error:
            self._breaker.failed(time.monotonic())
            raise ReplicasAway("bad-reply") from error
        except ReplicasAway as error:
            if error.why != "none":  # nobody to ask costs nothing
                self._breaker.failed(time.monotonic())
            raise
        self._breaker.succeeded()
        return answer
