"""Two replicas' reservations against an oracle."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.router.reservations import Reservations
from tests.services.router.given import Clock, told

IDS = ("a", "b", "c")


def rows(made: Reservations, endpoint: str) -> tuple[float, ...]:
    """(requests, prefill, context, decoding) on an endpoint, all replicas together."""
    found = made.in_flight((endpoint,))
    columns = (found.requests, found.prefill_tokens, found.context_tokens, found.decoding)
    return tuple(float(column[0]) for column in columns)


@dataclass
class Expected:
    """What an honest book would say."""

    endpoint: str
    prefill: int
    context: int
    expires_s: float
    decoding: int = 0


@dataclass
class Replica:
    """A replica under test beside its oracle."""

    book: Reservations
    expected: dict[str, Expected] = field(default_factory=dict)

    def totals(self, endpoint: str) -> tuple[int, int, int, int]:
        """Sums over the oracle's bookings."""
        mine = [b for b in self.expected.values() if b.endpoint == endpoint]
        return (
            len(mine),
            sum(0 if b.decoding else b.prefill for b in mine),
            sum(b.context for b in mine),
            sum(b.decoding for b in mine),
        )


class Replicas(RuleBasedStateMachine):
    """Two replicas, lossy announcements, and an oracle that adds up bookings."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.replicas = [Replica(Reservations(name, 100.0, self.clock)) for name in ("r1", "r2")]
        self.made = 0

    @rule(who=st.integers(0, 1), endpoint=st.sampled_from(IDS), tokens=st.integers(0, 10_000),
          lease_s=st.integers(1, 200))  # fmt: skip
    def reserve(self, who: int, endpoint: str, tokens: int, lease_s: int) -> None:
        """Book on one of the replicas."""
        self.made += 1
        name, replica = f"d{self.made}", self.replicas[who]
        replica.book.reserve(name, endpoint, tokens, tokens + 5, lease_s)
        expires_s = self.clock.now_s + min(lease_s, 100)
        replica.expected[name] = Expected(endpoint, tokens, tokens + 5, expires_s)

    @precondition(lambda self: any(r.expected for r in self.replicas))
    @rule(data=st.data(), act=st.sampled_from(["first_token", "progress", "release", "move"]),
          endpoint=st.sampled_from(IDS))  # fmt: skip
    def report(self, data: st.DataObject, act: str, endpoint: str) -> None:
        """Something becomes of a request."""
        replica = data.draw(st.sampled_from([r for r in self.replicas if r.expected]))
        name = data.draw(st.sampled_from(sorted(replica.expected)))
        booking = replica.expected[name]
        booking.expires_s = self.clock.now_s + 100
        if act == "release":
            replica.book.release(name)
            del replica.expected[name]
        elif act == "move":
            replica.book.move(name, endpoint, 7)
            booking.endpoint, booking.prefill, booking.decoding = endpoint, 7, 0
        elif act == "progress":
            replica.book.progress(name)
        else:
            replica.book.first_token(name)
            booking.decoding = 1

    @rule(seconds=st.integers(1, 60))
    def pass_time(self, seconds: int) -> None:
        """Leases run out."""
        self.clock.now_s += seconds
        for replica in self.replicas:
            late = {n for n, b in replica.expected.items() if b.expires_s < self.clock.now_s}
            assert set(replica.book.expire()) == late
            for name in late:
                del replica.expected[name]

    @rule(who=st.integers(0, 1), full=st.booleans(), lost=st.booleans())
    def announce(self, who: int, full: bool, lost: bool) -> None:
        """An announcement, which may be lost."""
        delta = self.replicas[who].book.announcement(full, 1)
        if delta is not None and not lost:
            self.replicas[1 - who].book.hear(delta)

    @rule()
    def heal(self) -> None:
        """A full announcement each way: both see the sum of both."""
        one, two = self.replicas
        one.book.hear(told(two.book, full=True))
        two.book.hear(told(one.book, full=True))
        for endpoint in IDS:
            both = tuple(
                a + b for a, b in zip(one.totals(endpoint), two.totals(endpoint), strict=True)
            )
            assert rows(one.book, endpoint) == rows(two.book, endpoint) == both

    @invariant()
    def own_load_is_exact(self) -> None:
        """Whatever was heard, own totals are the sums of own bookings."""
        for replica in self.replicas:
            for endpoint in IDS:
                load = replica.book._table.get("", endpoint)
                assert load.column() == replica.totals(endpoint)


Replicas.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
test_replicas_agree_with_an_oracle = Replicas.TestCase
