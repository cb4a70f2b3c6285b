"""Who holds which endpoint."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farsight.discovery import encode_record
from farsight.index.shards import VANISHED_S, IndexReplica, Share, holding, replicas_of
from farsight.pb.records_pb2 import ServiceRecord

ENDPOINTS = [f"pod-{i}" for i in range(400)]

names = st.text("abcdefgh-0123456789", min_size=1, max_size=12)
copies = st.integers(0, 3)
fleets = st.dictionaries(names, copies, min_size=1, max_size=6)


def fleet(copies: dict[str, int]) -> list[IndexReplica]:
    """Replicas in the order of their names, as records are read."""
    return [IndexReplica(name, copies=copies[name]) for name in sorted(copies)]


def record(replica_id: str, copies: int = 1, ready: bool = True) -> bytes:
    """What a replica writes about itself."""
    return encode_record(
        ServiceRecord(
            kind="indexer",
            replica_id=replica_id,
            address="10.0.0.1:9000",
            index_copies=copies,
            ready=ready,
        )
    )


def records(*replica_ids: str, **fields: object) -> dict[str, bytes]:
    """Records as the watch of etcd gives them."""
    return {name: record(name, **fields) for name in replica_ids}  # type: ignore[arg-type] # by name


@given(fleets, names, copies)
def test_a_replica_that_joins_takes_only_its_own_share(
    before: dict[str, int], name: str, copies: int
) -> None:
    """Nobody gains an endpoint, and who loses one loses it to a newcomer that ranks higher."""
    before = {n: c for n, c in before.items() if n != name} or {name + "x": 1}
    held = holding(ENDPOINTS, fleet(before))
    after = fleet(before | {name: copies})
    place = next(i for i, r in enumerate(after) if r.replica_id == name)
    later = holding(ENDPOINTS, after)
    others = np.delete(later, place, axis=1)

    assert not (others & ~held).any()
    if copies == 0 or copies >= max(before.values()):
        lost = (held & ~others).any(axis=1)
        assert not (lost & ~later[:, place]).any()


@given(fleets)
def test_every_endpoint_has_its_copies(copies: dict[str, int]) -> None:
    """Whoever holds everything does, and an endpoint is never without a holder."""
    replicas = fleet(copies)
    held = holding(ENDPOINTS, replicas)

    assert held.any(axis=1).all()
    for column, replica in zip(held.T, replicas, strict=True):
        assert column.all() or replica.copies > 0
    if len(set(copies.values())) == 1 and (each := next(iter(copies.values()))) > 0:
        assert (held.sum(axis=1) == min(each, len(replicas))).all()


@given(st.lists(names, min_size=2, max_size=6, unique=True), st.integers(1, 2))
def test_the_spread_is_even(replica_ids: list[str], each: int) -> None:
    """Within six standard deviations of equal shares."""
    held = holding(ENDPOINTS, fleet(dict.fromkeys(replica_ids, each)))
    share = min(each / len(replica_ids), 1)
    deviation = (len(ENDPOINTS) * share * (1 - share)) ** 0.5

    assert np.abs(held.sum(axis=0) - len(ENDPOINTS) * share).max() <= 6 * deviation + 1e-9


def test_the_order_of_the_records_does_not_matter() -> None:
    """Everybody comes to the same result."""
    replicas = fleet({"a": 1, "b": 2, "c": 1})
    backwards = holding(ENDPOINTS, replicas[::-1])

    assert (holding(ENDPOINTS, replicas) == backwards[:, ::-1]).all()


def test_records_become_replicas() -> None:
    """Bad ones are left out."""
    found = replicas_of({"b": record("b", 2), "a": record("a", ready=False), "c": b"nonsense"})

    assert found == (
        IndexReplica("a", "10.0.0.1:9000", 1, False),
        IndexReplica("b", "10.0.0.1:9000", 2, True),
    )


class Clock:
    """Turned by the test."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    """A clock."""
    return Clock()


def wanted(share: Share) -> set[str]:
    """The endpoints to load."""
    return {e for e in ENDPOINTS if share.wants(e)}


def needed(share: Share) -> set[str]:
    """The endpoints to keep."""
    return {e for e in ENDPOINTS if share.needs(e)}


def test_a_whole_share_is_whole_whoever_there_is(clock: Clock) -> None:
    """No copies: every endpoint."""
    share = Share("a", 0, clock)
    share.update(records("a", "b", "c"))

    assert share.is_whole
    assert wanted(share) == needed(share) == set(ENDPOINTS)


def test_nothing_is_taken_before_the_others_are_known(clock: Clock) -> None:
    """A replica that starts would load the whole fleet for a moment; alone it does."""
    share = Share("a", 1, clock)
    assert wanted(share) == needed(share) == set()

    share.update({})
    assert wanted(share) == set(ENDPOINTS)


def test_shares_of_a_fleet_are_a_partition(clock: Clock) -> None:
    """One copy: every endpoint is exactly one replica's."""
    shares = [Share(name, 1, clock) for name in "abc"]
    for share in shares:
        share.update(records("a", "b", "c"))

    parts = [wanted(share) for share in shares]

    assert sorted(e for part in parts for e in part) == sorted(ENDPOINTS)
    assert min(len(part) for part in parts) > len(ENDPOINTS) / 6


def test_a_replica_takes_its_share_before_its_record_is_there(clock: Clock) -> None:
    """It counts itself among the others."""
    share = Share("b", 1, clock)
    share.update(records("a"))
    before = wanted(share)
    share.update(records("a") | {"b": record("b", ready=False)})

    assert 0 < len(before) < len(ENDPOINTS)
    assert wanted(share) == before


def test_what_a_newcomer_takes_is_kept_until_it_is_ready(clock: Clock) -> None:
    """Wanted no more at once, but needed still."""
    share = Share("a", 1, clock)
    share.update(records("a"))
    share.update(records("a") | {"b": record("b", ready=False)})
    assert wanted(share) < set(ENDPOINTS)
    assert needed(share) == set(ENDPOINTS)

    share.update(records("a", "b"))
    assert needed(share) == wanted(share)


def test_records_that_vanish_for_a_moment_change_nothing(clock: Clock) -> None:
    """After a restart of etcd every record is written anew, one after the other."""
    share = Share("a", 1, clock)
    share.update(records("a", "b", "c"))
    before = wanted(share)

    share.update({})
    clock.now_s += VANISHED_S / 2
    share.tidy()
    assert wanted(share) == before
    share.update(records("b"))
    clock.now_s += VANISHED_S
    share.tidy()

    assert before < wanted(share) < set(ENDPOINTS)
