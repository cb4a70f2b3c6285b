"""In-flight load per endpoint: booked by this replica, announced by the others.

A decision books its load before the next decision is made. Replicas announce absolute totals, so
lost messages heal and nothing leaks when a replica dies: it is simply no longer counted.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from farsight.pb.events_pb2 import EndpointInFlight, InFlightDelta
from services.router.candidates import Floats

PEER_SILENT_S = 3.0


@dataclass(slots=True)
class Totals:
    """Load on one endpoint."""

    requests: int = 0
    prefill_tokens: int = 0
    context_tokens: int = 0
    decoding: int = 0

    def add(self, other: "Totals", sign: int = 1) -> None:
        """Add (or with sign -1 take away) another load."""
        self.requests += sign * other.requests
        self.prefill_tokens += sign * other.prefill_tokens
        self.context_tokens += sign * other.context_tokens
        self.decoding += sign * other.decoding


@dataclass(slots=True)
class _Booking:
    endpoint_id: str
    load: Totals
    expires_s: float


@dataclass(slots=True)
class _Peer:
    seq: int = 0
    heard_s: float = 0.0
    totals: dict[str, Totals] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InFlight:
    """Load columns over endpoints, all router replicas together."""

    requests: Floats
    prefill_tokens: Floats
    context_tokens: Floats
    decoding: Floats


class Reservations:
    """The book of one router replica."""

    def __init__(
        self, router_id: str, lease_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._router_id = router_id
        self._lease_s = lease_s
        self._clock = clock
        self._booked: dict[str, _Booking] = {}
        self._own: dict[str, Totals] = {}
        self._changed: set[str] = set()
        self._peers: dict[str, _Peer] = {}
        self._seq = 0

    def reserve(
        self, decision_id: str, endpoint_id: str, prefill_tokens: int, context_tokens: int
    ) -> None:
        """Book a decision's load on its endpoint."""
        load = Totals(1, prefill_tokens, context_tokens, 0)
        self._booked[decision_id] = _Booking(endpoint_id, load, self._clock() + self._lease_s)
        self._account(endpoint_id, load, 1)

    def move(self, decision_id: str, endpoint_id: str) -> None:
        """The request went to another endpoint after all."""
        booking = self._booked.get(decision_id)
        if booking is not None and booking.endpoint_id != endpoint_id:
            self._account(booking.endpoint_id, booking.load, -1)
            booking.endpoint_id = endpoint_id
            self._account(endpoint_id, booking.load, 1)

    def first_token(self, decision_id: str) -> None:
        """The prompt is computed: the request decodes from now on."""
        booking = self._booked.get(decision_id)
        if booking is None:
            return
        booking.expires_s = self._clock() + self._lease_s
        if not booking.load.decoding:
            change = Totals(0, -booking.load.prefill_tokens, 0, 1)
            booking.load.add(change)
            self._account(booking.endpoint_id, change, 1)

    def progress(self, decision_id: str) -> None:
        """The request is alive: its lease begins anew."""
        if booking := self._booked.get(decision_id):
            booking.expires_s = self._clock() + self._lease_s

    def release(self, decision_id: str) -> bool:
        """The request has ended; False when it was not booked here."""
        booking = self._booked.pop(decision_id, None)
        if booking is None:
            return False
        self._account(booking.endpoint_id, booking.load, -1)
        return True

    def expire(self) -> list[str]:
        """End bookings whose lease ran out; returns their decision ids."""
        now = self._clock()
        late = [d for d, booking in self._booked.items() if booking.expires_s < now]
        for decision_id in late:
            self.release(decision_id)
        return late

    def _account(self, endpoint_id: str, load: Totals, sign: int) -> None:
        self._own.setdefault(endpoint_id, Totals()).add(load, sign)
        self._changed.add(endpoint_id)

    def in_flight(self, endpoint_ids: Sequence[str]) -> InFlight:
        """Load over all replicas, in the order of the endpoints."""
        now = self._clock()
        sums = np.zeros((4, len(endpoint_ids)))
        live = [p.totals for p in self._peers.values() if now - p.heard_s <= PEER_SILENT_S]
        for totals in (self._own, *live):
            for i, endpoint_id in enumerate(endpoint_ids):
                if found := totals.get(endpoint_id):
                    sums[0, i] += found.requests
                    sums[1, i] += found.prefill_tokens
                    sums[2, i] += found.context_tokens
                    sums[3, i] += found.decoding
        return InFlight(*sums)

    @property
    def live_peers(self) -> int:
        """Other replicas heard from lately."""
        now = self._clock()
        return sum(now - peer.heard_s <= PEER_SILENT_S for peer in self._peers.values())

    def announcement(self, full: bool, now_unix_ms: int) -> InFlightDelta | None:
        """What changed since the last announcement, or everything; None when nothing did."""
        named = [e for e, t in self._own.items() if t.requests] if full else list(self._changed)
        if not full and not named:
            return None
        self._changed.clear()
        self._seq += 1
        return InFlightDelta(
            router_id=self._router_id,
            seq=self._seq,
            full=full,
            sent_unix_ms=now_unix_ms,
            endpoints=[_message(e, self._own[e]) for e in named],
        )

    def hear(self, delta: InFlightDelta) -> None:
        """Take another replica's announcement; late ones are ignored."""
        if delta.router_id == self._router_id:
            return
        peer = self._peers.setdefault(delta.router_id, _Peer())
        now = self._clock()
        restarted = now - peer.heard_s > PEER_SILENT_S
        if delta.seq <= peer.seq and not restarted:
            return
        peer.seq, peer.heard_s = delta.seq, now
        if delta.full or restarted:
            peer.totals = {}
        for load in delta.endpoints:
            peer.totals[load.endpoint_id] = Totals(
                load.requests, load.prefill_tokens, load.context_tokens, load.decoding_requests
            )

    def forget_silent_peers(self) -> None:
        """Drop replicas that have not been heard for a while."""
        now = self._clock()
        for router_id in [r for r, p in self._peers.items() if now - p.heard_s > PEER_SILENT_S * 4]:
            del self._peers[router_id]


def _message(endpoint_id: str, totals: Totals) -> EndpointInFlight:
    return EndpointInFlight(
        endpoint_id=endpoint_id,
        requests=totals.requests,
        prefill_tokens=totals.prefill_tokens,
        context_tokens=totals.context_tokens,
        decoding_requests=totals.decoding,
    )
