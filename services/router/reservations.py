"""In-flight load per endpoint: booked by this replica, announced by the others.

A decision books its load before the next decision is made. Replicas announce absolute totals, so
lost messages heal and nothing leaks when a replica dies: it is simply no longer counted.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from farsight.pb.events_pb2 import EndpointInFlight, InFlightDelta
from services.router.load_table import InFlight, Load, LoadTable

PEER_SILENT_S = 3.0
FORGET_PEER_S = 12.0
MAX_PEERS = 256
MAX_ANNOUNCED = 1 << 14
_OWN = ""


@dataclass(slots=True)
class _Booking:
    endpoint_id: str
    load: Load
    expires_s: float


@dataclass(slots=True)
class _Peer:
    seq: int
    heard_s: float


class Reservations:
    """The book of one router replica.

    :param lease_s: a booking ends this long after its last report.
    :param first_seq: where announcements begin to count; must rise from one life of a replica to
        the next one of the same name.
    """

    def __init__(
        self,
        router_id: str,
        lease_s: float,
        clock: Callable[[], float] = time.monotonic,
        first_seq: int = 0,
    ) -> None:
        self._router_id = router_id
        self._lease_s = lease_s
        self._clock = clock
        self._booked: dict[str, _Booking] = {}
        self._due: list[tuple[float, str]] = []
        self._table = LoadTable()
        self._changed: set[str] = set()
        self._peers: dict[str, _Peer] = {}
        self._seq = first_seq
        self.version = 0
        """Changes with what `in_flight` answers, but not when a replica falls silent."""

    def holds(self, decision_id: str) -> bool:
        """The decision's load is booked."""
        return decision_id in self._booked

    def reserve(
        self,
        decision_id: str,
        endpoint_id: str,
        prefill_tokens: int,
        context_tokens: int,
        lease_s: float,
    ) -> None:
        """Book a decision's load on its endpoint; it ends after `lease_s` without a report."""
        expires_s = self._clock() + min(lease_s, self._lease_s)
        load = Load(1, prefill_tokens, context_tokens, 0)
        self._booked[decision_id] = _Booking(endpoint_id, load, expires_s)
        heappush(self._due, (expires_s, decision_id))
        self._account(endpoint_id, load, 1)

    def move(self, decision_id: str, endpoint_id: str, prefill_tokens: int) -> None:
        """The request went to another endpoint, and has that many tokens to compute there."""
        booking = self._booked.get(decision_id)
        if booking is not None:
            self._account(booking.endpoint_id, booking.load, -1)
            booking.endpoint_id = endpoint_id
            booking.load = Load(1, prefill_tokens, booking.load.context_tokens, 0)
            booking.expires_s = self._clock() + self._lease_s
            self._account(endpoint_id, booking.load, 1)

    def first_token(self, decision_id: str) -> None:
        """The prompt is computed: the request decodes from now on."""
        booking = self._booked.get(decision_id)
        if booking is None:
            return
        booking.expires_s = self._clock() + self._lease_s
        if not booking.load.decoding:
            self._account(booking.endpoint_id, booking.load, -1)
            booking.load = Load(1, 0, booking.load.context_tokens, 1)
            self._account(booking.endpoint_id, booking.load, 1)

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
        if len(self._due) > 64 + 2 * len(self._booked):
            self._due = [(b.expires_s, d) for d, b in self._booked.items()]
            heapify(self._due)
        return True

    def expire(self) -> list[str]:
        """End bookings whose lease ran out; returns their decision ids."""
        now = self._clock()
        late = []
        while self._due and self._due[0][0] < now:
            _, decision_id = heappop(self._due)
            booking = self._booked.get(decision_id)
            if booking is None:
                continue
            if booking.expires_s < now:
                self.release(decision_id)
                late.append(decision_id)
            else:
                heappush(self._due, (booking.expires_s, decision_id))
        return late

    def _account(self, endpoint_id: str, load: Load, sign: int) -> None:
        self.version += 1
        self._table.add(_OWN, endpoint_id, load, sign)
        self._changed.add(endpoint_id)

    def in_flight(self, endpoint_ids: Sequence[str]) -> InFlight:
        """Load over all replicas, in the order of the endpoints."""
        return self._table.total((_OWN, *self._live_peers()), endpoint_ids)

    def _live_peers(self) -> list[str]:
        oldest_s = self._clock() - PEER_SILENT_S
        return [router_id for router_id, p in self._peers.items() if p.heard_s >= oldest_s]

    @property
    def live_peers(self) -> int:
        """Other replicas heard from lately."""
        return len(self._live_peers())

    def announcement(self, full: bool, now_unix_ms: int) -> InFlightDelta | None:
        """What changed since the last announcement, or everything; None when nothing did."""
        named = self._table.loaded(_OWN) if full else sorted(self._changed)
        if not full and not named:
            return None
        self._changed.clear()
        self._seq += 1
        return InFlightDelta(
            router_id=self._router_id,
            seq=self._seq,
            full=full,
            sent_unix_ms=now_unix_ms,
            endpoints=[_message(e, self._table.get(_OWN, e)) for e in named],
        )

    def hear(self, delta: InFlightDelta) -> None:
        """Take another replica's announcement; late ones are ignored."""
        router_id = delta.router_id
        if router_id in (_OWN, self._router_id) or len(delta.endpoints) > MAX_ANNOUNCED:
            return
        now = self._clock()
        peer = self._peers.get(router_id)
        silent = peer is None or now - peer.heard_s > PEER_SILENT_S
        if peer is not None and delta.seq <= peer.seq and not silent:
            return
        if peer is None and len(self._peers) >= MAX_PEERS:
            return
        self.version += 1
        self._peers[router_id] = _Peer(delta.seq, now)
        if delta.full or silent:
            self._table.drop(router_id)
        for told in delta.endpoints:
            load = Load(
                told.requests,
                min(told.prefill_tokens, 1 << 40),
                min(told.context_tokens, 1 << 40),
                told.decoding_requests,
            )
            self._table.put(router_id, told.endpoint_id, load)

    def tidy(self, endpoint_ids: Collection[str]) -> None:
        """Forget replicas that fell silent, and endpoints that are gone and carry nothing."""
        now = self._clock()
        for router_id in [r for r, p in self._peers.items() if now - p.heard_s > FORGET_PEER_S]:
            del self._peers[router_id]
            self._table.drop(router_id)
        self._table.prune(endpoint_ids)


def _message(endpoint_id: str, load: Load) -> EndpointInFlight:
    return EndpointInFlight(
        endpoint_id=endpoint_id,
        requests=load.requests,
        prefill_tokens=load.prefill_tokens,
        context_tokens=load.context_tokens,
        decoding_requests=load.decoding,
    )
