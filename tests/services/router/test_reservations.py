"""In-flight load: own bookings, other replicas' announcements, leases."""

from collections.abc import Callable

import pytest

from farsight.pb.events_pb2 import EndpointInFlight, InFlightDelta
from services.router.load_table import MAX_SLOTS
from services.router.reservations import FORGET_PEER_S, MAX_PEERS, PEER_SILENT_S, Reservations
from tests.services.router.given import Clock, told

IDS = ("a", "b", "c")


def book(clock: Clock, name: str = "r1", first_seq: int = 0) -> Reservations:
    """Reservations of one replica with a lease of 100 s."""
    return Reservations(name, 100.0, clock, first_seq)


def rows(made: Reservations, ids: tuple[str, ...] = IDS) -> list[tuple[float, ...]]:
    """(requests, prefill, context, decoding) of each endpoint."""
    found = made.in_flight(ids)
    columns = (found.requests, found.prefill_tokens, found.context_tokens, found.decoding)
    return [tuple(row) for row in zip(*(c.tolist() for c in columns), strict=True)]


NONE: tuple[float, ...] = (0, 0, 0, 0)


def test_a_booking_counts_at_once_and_ends_with_its_release() -> None:
    """In the order of the ids that are asked for, unknown ones being idle."""
    made = book(Clock())

    made.reserve("d1", "b", 100, 150, 60)
    made.reserve("d2", "b", 10, 20, 60)
    booked = rows(made)
    released = (made.release("d1"), made.release("d1"), made.release("nobody"))

    assert booked == [NONE, (2, 110, 170, 0), NONE]
    assert released == (True, False, False)
    assert rows(made) == [NONE, (1, 10, 20, 0), NONE]


def test_after_its_first_token_a_request_decodes() -> None:
    """Its prompt is computed; a second first token changes nothing."""
    made = book(Clock())
    made.reserve("d", "a", 100, 150, 60)

    made.first_token("d")
    made.first_token("d")
    made.first_token("nobody")

    assert rows(made)[0] == (1, 0, 150, 1)
    made.release("d")
    assert rows(made)[0] == NONE


def test_a_moved_request_leaves_nothing_behind() -> None:
    """On the new endpoint it has other tokens to compute, and has not begun."""
    made = book(Clock())
    made.reserve("d", "a", 100, 150, 60)
    made.first_token("d")

    made.move("d", "b", 70)
    made.move("nobody", "c", 70)

    assert rows(made) == [NONE, (1, 70, 150, 0), NONE]
    made.release("d")
    assert rows(made) == [NONE] * 3


def test_a_booking_without_reports_ends_with_its_lease() -> None:
    """No sooner, and others stay."""
    clock = Clock()
    made = book(clock)
    made.reserve("short", "a", 1, 1, 10)
    made.reserve("long", "a", 1, 1, 1e9)

    clock.now_s += 10
    early = made.expire()
    clock.now_s += 1
    late = made.expire()
    clock.now_s += 90
    capped = made.expire()

    assert (early, late, capped) == ([], ["short"], ["long"])
    assert rows(made)[0] == NONE


def test_every_report_renews_the_lease() -> None:
    """First token, progress and a move give the whole lease of 100 s."""
    clock = Clock()
    made = book(clock)
    for decision_id in ("first", "progress", "moved", "silent"):
        made.reserve(decision_id, "a", 1, 1, 10)

    clock.now_s += 9
    made.first_token("first")
    made.progress("progress")
    made.move("moved", "b", 1)
    clock.now_s += 2
    late = made.expire()
    clock.now_s += 97
    still = made.expire()
    clock.now_s += 2

    assert (late, still) == (["silent"], [])
    assert sorted(made.expire()) == ["first", "moved", "progress"]


def test_released_bookings_do_not_pile_up() -> None:
    """A long lease is no reason to remember what has ended."""
    made = book(Clock())

    for i in range(5000):
        made.reserve(f"d{i}", "a", 1, 1, 100)
        made.release(f"d{i}")

    assert len(made._due) < 200


def test_replicas_see_each_other() -> None:
    """Own load and theirs are added up."""
    clock = Clock()
    one, two = book(clock, "r1"), book(clock, "r2")
    one.reserve("d1", "a", 100, 150, 60)
    two.reserve("d2", "a", 10, 20, 60)
    two.reserve("d3", "b", 1, 2, 60)

    one.hear(told(two))
    two.hear(told(one))

    assert rows(one) == rows(two) == [(2, 110, 170, 0), (1, 1, 2, 0), NONE]
    assert one.live_peers == two.live_peers == 1


def test_only_changes_are_announced_and_everything_now_and_then() -> None:
    """An endpoint that became idle is a change; a full one leaves idle endpoints out."""
    made = book(Clock())
    made.reserve("d1", "a", 1, 1, 60)
    made.reserve("d2", "b", 1, 1, 60)
    first = told(made)
    made.release("d1")

    second, full = told(made), told(made, full=True)

    assert [e.endpoint_id for e in first.endpoints] == ["a", "b"]
    assert [(e.endpoint_id, e.requests) for e in second.endpoints] == [("a", 0)]
    assert [(e.endpoint_id, e.requests) for e in full.endpoints] == [("b", 1)]
    assert (first.seq, second.seq, full.seq) == (1, 2, 3)
    assert made.announcement(False, 1) is None


def test_an_idle_replica_still_says_that_it_lives() -> None:
    """A full announcement without endpoints."""
    full = told(book(Clock()), full=True)

    assert full.full
    assert not full.endpoints


def test_totals_are_absolute_so_the_next_message_heals_a_loss() -> None:
    """Whichever announcements are lost, the following full one makes it right."""
    clock = Clock()
    one, two = book(clock, "r1"), book(clock, "r2")
    two.reserve("d1", "a", 100, 150, 60)
    one.hear(told(two))
    two.reserve("d2", "a", 10, 20, 60)
    told(two)
    two.reserve("d3", "b", 1, 2, 60)
    two.release("d1")
    told(two)

    one.hear(told(two, full=True))

    assert rows(one) == rows(two) == [(1, 10, 20, 0), (1, 1, 2, 0), NONE]


def test_late_and_repeated_messages_are_ignored() -> None:
    """The state of seq 2 is not undone by seq 1."""
    clock = Clock()
    one, two = book(clock, "r1"), book(clock, "r2")
    two.reserve("d", "a", 100, 150, 60)
    old = told(two)
    two.release("d")
    new = told(two)

    for delta in (new, old, new):
        one.hear(delta)

    assert rows(one) == [NONE] * 3


def test_own_announcements_are_not_heard() -> None:
    """NATS delivers them to their sender as well."""
    made = book(Clock())
    made.reserve("d", "a", 1, 1, 60)

    made.hear(told(made))
    made.hear(InFlightDelta(router_id="", seq=9, endpoints=[EndpointInFlight(endpoint_id="a")]))

    assert rows(made)[0] == (1, 1, 1, 0)
    assert made.live_peers == 0


def test_a_silent_replica_is_not_counted_and_then_forgotten() -> None:
    """Its requests may still run, but nobody says so."""
    clock = Clock()
    one, two = book(clock, "r1"), book(clock, "r2")
    two.reserve("d", "a", 100, 150, 60)
    one.hear(told(two))

    clock.now_s += PEER_SILENT_S
    counted = rows(one)
    clock.now_s += 0.1
    silent, live_peers = rows(one)[0], one.live_peers
    clock.now_s += FORGET_PEER_S
    one.tidy(IDS)

    assert counted == [(1, 100, 150, 0), NONE, NONE]
    assert silent == NONE
    assert live_peers == 0
    assert not one._peers


def test_a_silent_replica_that_comes_back_starts_from_nothing() -> None:
    """What it said before does not come back with its first change."""
    clock = Clock()
    one, two = book(clock, "r1"), book(clock, "r2")
    two.reserve("d1", "a", 100, 150, 60)
    one.hear(told(two))
    clock.now_s += PEER_SILENT_S + 1
    two.release("d1")
    told(two)
    two.reserve("d2", "b", 1, 2, 60)

    one.hear(told(two))

    assert rows(one) == [NONE, (1, 1, 2, 0), NONE]


def test_a_replica_that_restarts_under_its_name_is_heard_at_once() -> None:
    """Its numbers begin above those of its life before; its first full message clears the old."""
    clock = Clock()
    one, before = book(clock, "r1"), book(clock, "r2", first_seq=1_000)
    before.reserve("d1", "a", 100, 150, 60)
    one.hear(told(before))

    after = book(clock, "r2", first_seq=2_000)
    after.reserve("d2", "b", 1, 2, 60)
    one.hear(told(after, full=True))

    assert rows(one) == [NONE, (1, 1, 2, 0), NONE]


def test_strangers_cannot_fill_the_memory() -> None:
    """More replicas or endpoints than any fleet has are not remembered."""
    made = book(Clock())

    for i in range(MAX_PEERS + 10):
        made.hear(InFlightDelta(router_id=f"x{i}", seq=1))
    many = [EndpointInFlight(endpoint_id=f"e{i}", requests=1) for i in range(MAX_SLOTS + 1)]
    made.hear(InFlightDelta(router_id="x0", seq=2, endpoints=many))

    assert made.live_peers == MAX_PEERS
    assert rows(made, ("e0",)) == [NONE]


def test_endpoints_that_left_give_their_columns_up() -> None:
    """Pods come and go under new names; load on one that left stays until it ends."""
    clock = Clock()
    made, peer = book(clock), book(clock, "r2")
    for i in range(1000):
        made.reserve(f"d{i}", f"pod{i}", 1, 1, 60)
        peer.reserve(f"d{i}", f"pod{i}", 1, 1, 60)
        made.hear(told(peer))
        made.release(f"d{i}")
        peer.release(f"d{i}")
        made.hear(told(peer))
        made.tidy((f"pod{i}",))
    made.reserve("last", "gone", 1, 1, 60)
    made.tidy(())

    assert rows(made, ("gone", "pod1")) == [(1, 1, 1, 0), NONE]
    assert made._table._capacity == 16


def announced(made: Reservations) -> None:
    """Another replica tells of load."""
    made.hear(
        InFlightDelta(
            router_id="r2", seq=2, endpoints=[EndpointInFlight(endpoint_id="c", requests=3)]
        )
    )


ACTS: dict[str, tuple[Callable[[Reservations], object], bool]] = {
    "reserve": (lambda made: made.reserve("d2", "a", 5, 6, 60), True),
    "move": (lambda made: made.move("d1", "b", 7), True),
    "first token": (lambda made: made.first_token("d1"), True),
    "release": (lambda made: made.release("d1"), True),
    "hear": (announced, True),
    "progress": (lambda made: made.progress("d1"), False),
    "an unknown decision": (lambda made: made.release("nobody"), False),
    "a second first token": (lambda made: made.first_token("decoding"), False),
    "a look": (lambda made: made.in_flight(IDS), False),
    "an announcement": (lambda made: made.announcement(True, 1), False),
    "housekeeping": (lambda made: made.tidy(IDS), False),
    "nothing late": (lambda made: made.expire(), False),
    "its own announcement": (lambda made: made.hear(told(made, full=True)), False),
    "a late announcement": (lambda made: made.hear(InFlightDelta(router_id="r2", seq=1)), False),
}


@pytest.mark.parametrize("act", ACTS)
def test_the_version_changes_with_what_is_in_flight(act: str) -> None:
    """Who has looked at a version knows whether to look again."""
    made = book(Clock())
    made.reserve("d1", "a", 100, 150, 60)
    made.reserve("decoding", "b", 100, 150, 60)
    made.first_token("decoding")
    made.hear(InFlightDelta(router_id="r2", seq=1))
    before, seen = made.version, rows(made)
    action, changes = ACTS[act]

    action(made)

    assert (made.version != before) == changes
    assert changes or rows(made) == seen


def test_the_version_changes_when_a_lease_ends() -> None:
    """Nobody reports that."""
    clock = Clock()
    made = book(clock)
    made.reserve("d", "a", 100, 150, 10)
    before = made.version

    clock.now_s += 11
    made.expire()

    assert made.version != before
    assert rows(made) == [NONE] * 3
