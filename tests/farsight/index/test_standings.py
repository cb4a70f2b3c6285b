"""The columns of a match say of every endpoint what its source says, whatever has happened."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis.stateful import invariant

from farsight.index.match import Confidence
from farsight.index.sources import MAX_ROSTERS
from farsight.index.standings import HEARTBEAT_LIMIT_S, IN_FLIGHT_GRACE_S, MAX_AGE_MS
from farsight.index.state import KvIndex
from tests.farsight.index.loading import finish, step
from tests.farsight.index.messages import Cache, key_array
from tests.farsight.index.test_property import Fleet
from tests.farsight.index.world import World

Standing = dict[str, tuple[Confidence, int]]


def columns(index: KvIndex, *endpoint_ids: str) -> Standing:
    """Confidence and age as a match has them."""
    found = index.match(key_array(1), endpoint_ids)
    confidences = [Confidence(value) for value in found.confidence.tolist()]
    ages_ms = found.age_ms.tolist()
    return dict(zip(found.endpoint_ids, zip(confidences, ages_ms, strict=True), strict=True))


def sources(index: KvIndex) -> Standing:
    """The same as the sources have them."""
    return {s.endpoint_id: (s.confidence, s.age_ms) for s in index.report()}


class Columns(Fleet):
    """Every fault of the network and the fleet, also while a snapshot is half loaded."""

    @invariant()
    def columns_are_true(self) -> None:
        """Asked for all endpoints, and for some of them in any order."""
        told = sources(self.index)
        assert columns(self.index) == told
        for name in told:
            assert columns(self.index, name, "unknown") == {name: told[name]}


TestColumns = pytest.mark.timeout(120)(Columns.TestCase)
TestColumns.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def heard(world: World, name: str) -> Cache:
    """An endpoint with a block, whose delta and heartbeat have come."""
    cache = Cache(name)
    world.index.apply(cache.store(1))
    world.hear(cache)
    return cache


def test_more_endpoints_than_there_were_rows_for() -> None:
    """Each keeps its own standing while the columns grow."""
    world = World()
    for i in range(100):
        world.now_s += 0.01
        heard(world, f"e{i}")

    found = columns(world.index)

    ages_ms = [age_ms for _, age_ms in found.values()]
    assert found == sources(world.index)
    assert ages_ms == sorted(set(ages_ms), reverse=True)


def test_time_alone_changes_a_standing() -> None:
    """Nobody writes a row when a heartbeat stays away or an announced delta does not come."""
    world = World()
    heard(world, "silent")
    behind = heard(world, "behind")
    behind.store(2)
    world.hear(behind)
    at_first = columns(world.index)

    world.now_s += IN_FLIGHT_GRACE_S * 1.01
    late = columns(world.index)
    world.now_s += HEARTBEAT_LIMIT_S
    silent = columns(world.index)

    assert [c for c, _ in at_first.values()] == [Confidence.EXACT, Confidence.EXACT]
    assert [c for c, _ in late.values()] == [Confidence.EXACT, Confidence.DEGRADED]
    assert [c for c, _ in silent.values()] == [Confidence.DEGRADED, Confidence.DEGRADED]
    assert silent == sources(world.index)


def test_a_snapshot_that_takes_long_to_load_shows_that_something_is_missing() -> None:
    """Its sequence number tells of deltas that never came, long before it is in force."""
    world = World()
    cache = heard(world, "a")
    cache.store(2)
    load = world.index.replace(cache.snapshot())
    is_done = step(load)

    world.now_s += IN_FLIGHT_GRACE_S * 1.01
    loading = columns(world.index)
    told = sources(world.index)
    finished = finish(load)

    assert is_done is None
    assert loading == told
    assert loading["a"][0] is Confidence.DEGRADED
    assert finished
    assert columns(world.index)["a"][0] is Confidence.EXACT


def test_the_row_of_an_endpoint_that_was_forgotten_serves_the_next_one() -> None:
    """Nothing of the old one shows."""
    world = World()
    heard(world, "old")
    world.now_s += 100
    world.index.forget_silent(60)

    late = Cache("new")
    late.store(1)
    world.hear(late)

    assert columns(world.index) == {"new": (Confidence.DEGRADED, MAX_AGE_MS)}
    assert columns(world.index, "old", "new") == columns(world.index)


def test_a_roster_that_was_asked_for_before_learns_of_new_endpoints() -> None:
    """Which of its endpoints are known is remembered only until another one comes or goes."""
    world = World()
    heard(world, "a")
    before = columns(world.index, "a", "b")
    heard(world, "b")
    with_b = columns(world.index, "a", "b")
    world.now_s += 100
    heard(world, "b")
    world.index.forget_silent(60)

    assert list(before) == ["a"]
    assert list(with_b) == ["a", "b"]
    assert list(columns(world.index, "a", "b")) == ["b"]


def test_many_rosters_are_answered_as_few_are() -> None:
    """Only so many are remembered; the answer does not depend on it."""
    world = World()
    names = [f"e{i}" for i in range(MAX_ROSTERS + 10)]
    for name in names:
        heard(world, name)

    for _ in range(2):
        for i in range(len(names)):
            rotated = (*names[i:], *names[:i])
            found = world.index.match(key_array(1), rotated)
            assert found.endpoint_ids is rotated
            assert np.array_equal(found.device_blocks, np.ones(len(names)))
