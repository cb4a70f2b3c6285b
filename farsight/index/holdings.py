"""Which endpoints' deltas this replica listens to, and when it lets an endpoint go."""

import asyncio
from collections.abc import Callable, Iterable

from farsight import subjects
from farsight.bus import Bus, Handler, Subscription
from farsight.discovery import ENDPOINT_ID
from farsight.errors import InvalidField
from farsight.index.shards import Share

MAX_ENDPOINTS = 4096
ENDPOINTS_AT_ONCE = 16  # looked at between two turns of the event loop; 30 us each after a change


class Holdings:
    """The subscriptions of a `Share`: one for all endpoints when it is whole, else one for each.

    :param grace_s: how long an endpoint is kept after others have taken it over, seconds; they load
        it in that time.
    """

    def __init__(
        self,
        bus: Bus,
        share: Share,
        on_delta: Handler,
        grace_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._bus = bus
        self._share = share
        self._on_delta = on_delta
        self._grace_s = grace_s
        self._clock = clock
        self._held: dict[str, Subscription] = {}
        self._leave_at_s: dict[str, float] = {}

    def start(self) -> None:
        """Listen to every delta when this replica holds every endpoint."""
        if self._share.is_whole:
            self._bus.subscribe(subjects.DELTA_ALL, self._on_delta)

    def holds(self, endpoint_id: str) -> bool:
        """The endpoint is held now."""
        return self._share.is_whole or endpoint_id in self._held

    def take_up(self, endpoint_id: str) -> bool:
        """A heartbeat came: begin to hold the endpoint when it is of the share; is it held?

        :raises InvalidField: the id is none, or there are too many endpoints.
        """
        if endpoint_id in self._held or self._share.is_whole:
            return True
        if not ENDPOINT_ID.fullmatch(endpoint_id):
            raise InvalidField("endpoint_id", ENDPOINT_ID.pattern)
        if not self._share.wants(endpoint_id):
            return False
        if len(self._held) >= MAX_ENDPOINTS:
            raise InvalidField("endpoint_id", f"at most {MAX_ENDPOINTS} endpoints")
        subject = subjects.delta(endpoint_id)
        self._held[endpoint_id] = self._bus.subscribe(subject, self._on_delta)
        return True

    async def let_go(self) -> list[str]:
        """Stop listening to endpoints that have been others' for the grace; returns their ids."""
        if self._share.is_whole:
            return []
        now_s = self._clock()
        self._share.tidy()
        for i, endpoint_id in enumerate(tuple(self._held), 1):
            if i % ENDPOINTS_AT_ONCE == 0:
                await asyncio.sleep(0)
            if self._share.needs(endpoint_id):
                self._leave_at_s.pop(endpoint_id, None)
            else:
                self._leave_at_s.setdefault(endpoint_id, now_s + self._grace_s)
        gone = [e for e, at_s in self._leave_at_s.items() if at_s <= now_s]
        await self.forget(gone)
        return gone

    async def forget(self, endpoint_ids: Iterable[str]) -> None:
        """Stop listening to endpoints."""
        for endpoint_id in endpoint_ids:
            self._leave_at_s.pop(endpoint_id, None)
            subscription = self._held.pop(endpoint_id, None)
            if subscription is not None:
                await subscription.close()
