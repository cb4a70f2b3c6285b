"""Somebody has found an endpoint's blocks wrong, or another replica holds it now."""

from farsight.index.match import Confidence
from tests.farsight.index.loading import finish, step
from tests.farsight.index.messages import DEVICE, Cache, key_array
from tests.farsight.index.world import EXACT, UNKNOWN, World


def test_a_doubted_life_needs_a_new_snapshot(world: World, cache: Cache) -> None:
    """What is known stays in force as DEGRADED; deltas wait; a snapshot from now on ends it."""
    world.index.apply(cache.store(4))

    world.index.doubt("a", cache.epoch)

    assert world.confidence() == UNKNOWN
    assert world.index.wants_fresh("a")
    assert world.wanted == ["a"]
    assert world.index.apply(cache.store(5)) == "held"
    assert world.index.match(key_array(1, 2, 3, 4, 5), ["a"]).device_blocks.tolist() == [4]
    assert finish(world.index.replace(cache.snapshot()))
    assert world.confidence() == EXACT
    assert not world.index.wants_fresh("a")
    assert world.held() == cache.held


def test_an_older_snapshot_does_not_remove_a_doubt(world: World, cache: Cache) -> None:
    """It is from before what is doubted."""
    old = cache.snapshot()
    world.index.apply(cache.store(4))
    world.index.doubt("a", cache.epoch)

    assert not finish(world.index.replace(old))
    assert world.confidence()[0] is Confidence.DEGRADED
    assert world.held()[DEVICE] == {1, 2, 3, 4}


def test_a_snapshot_under_way_does_not_remove_a_doubt(world: World) -> None:
    """It was asked for before; the next one is a new one."""
    cache = Cache("a")
    cache.store(*range(1, 9000))
    load = world.index.replace(cache.snapshot())
    step(load)

    world.index.doubt("a", cache.epoch)

    assert not finish(load)
    assert world.confidence() == UNKNOWN
    assert finish(world.index.replace(cache.snapshot()))
    world.hear(cache)
    assert world.confidence() == EXACT
    assert world.held() == cache.held


def test_doubts_of_other_lives_and_strangers_change_nothing(world: World, cache: Cache) -> None:
    """They come late, or to a replica that does not hold the endpoint; doubts do not add up."""
    world.index.doubt("a", cache.epoch - 1)
    world.index.doubt("a", cache.epoch + 1)
    world.index.doubt("b", 1)
    assert world.confidence() == EXACT
    assert not world.index.wants_fresh("b")

    for _ in range(3):
        world.index.doubt("a", cache.epoch)
    assert world.wanted == ["a"]


def test_a_new_life_is_not_doubted(world: World, cache: Cache) -> None:
    """It is known from its beginning."""
    world.index.doubt("a", cache.epoch)
    cache.restart()
    world.hear(cache)

    assert world.confidence() == EXACT
    assert not world.index.wants_fresh("a")


def test_a_dropped_endpoint_leaves_nothing(world: World, cache: Cache) -> None:
    """Not even when a snapshot is half loaded; it may come back."""
    other = Cache("b")
    other.store(*range(1, 9000))
    load = world.index.replace(other.snapshot())
    step(load)

    for endpoint_id in ("a", "b", "stranger"):
        world.index.drop(endpoint_id)

    assert not finish(load)
    assert world.index.report() == []
    assert world.index.size[0] == 0
    world.hear(cache)
    assert finish(world.index.replace(cache.snapshot()))
    assert world.held() == cache.held
