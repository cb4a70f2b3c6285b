"""Doubts about an endpoint force a new snapshot, now and then."""

import math

import pytest

from farsight import subjects
from farsight.index.doubts import DOUBT_INTERVAL_S, MAX_DOUBT_BYTES, Doubts, doubts_total
from farsight.pb.events_pb2 import KvDoubt
from tests.farsight.index.messages import Cache
from tests.farsight.index.world import EXACT, World

RESULTS = ("taken", "limited", "stale", "not-held", "refused")


def counts() -> dict[str, float]:
    """How often each result came."""
    return {r: float(doubts_total.labels(r)._value.get()) for r in RESULTS}


def results(doubts: Doubts, *messages: tuple[str, bytes]) -> list[str]:
    """What becomes of messages."""
    out = []
    for subject, data in messages:
        before = counts()
        doubts.on_doubt(subject, data)
        out += [r for r, n in counts().items() if n > before[r]]
    return out


def doubt(endpoint_id: str = "a", epoch: int = 1, error: float = 100) -> tuple[str, bytes]:
    """A message of a router."""
    message = KvDoubt(endpoint_id=endpoint_id, epoch=epoch, router_id="r", mean_error_tokens=error)
    return subjects.doubt(endpoint_id), message.SerializeToString()


@pytest.fixture
def doubts(world: World) -> Doubts:
    """Of a replica that holds every endpoint but `z`."""
    return Doubts(world.index, lambda endpoint_id: endpoint_id != "z", lambda: world.now_s)


def test_a_doubted_endpoint_is_not_exact_and_a_fresh_snapshot_is_wanted(
    world: World, cache: Cache, doubts: Doubts
) -> None:
    """Once in a while, however many routers doubt it."""
    assert world.confidence() == EXACT

    assert results(doubts, doubt(), doubt()) == ["taken", "limited"]
    assert world.confidence() != EXACT
    assert world.wanted == ["a"]
    assert world.index.wants_fresh("a")

    world.now_s += DOUBT_INTERVAL_S * 1.1
    assert results(doubts, doubt()) == ["taken"]


def test_doubts_of_an_earlier_life_do_not_count(world: World, cache: Cache, doubts: Doubts) -> None:
    """Nor do those about what this replica does not hold; they use up nobody's turn."""
    assert results(doubts, doubt(epoch=7), doubt("b"), doubt("z")) == ["stale", "stale", "not-held"]
    assert world.confidence() == EXACT

    assert results(doubts, doubt()) == ["taken"]


@pytest.mark.parametrize(
    ("subject", "data"),
    [
        (subjects.doubt("a"), b"\xff\xff"),
        (subjects.doubt("a"), bytes(MAX_DOUBT_BYTES + 1)),
        (subjects.doubt("b"), doubt("a")[1]),
        doubt("a b"),
        doubt(error=math.nan),
    ],
    ids=["no message", "too long", "foreign subject", "no endpoint id", "no number"],
)
def test_malformed_doubts_are_refused(
    world: World, cache: Cache, doubts: Doubts, subject: str, data: bytes
) -> None:
    """Counted, and without effect."""
    assert results(doubts, (subject, data)) == ["refused"]
    assert world.confidence() == EXACT
