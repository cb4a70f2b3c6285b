"""An index, and an endpoint that it knows."""

import pytest

from tests.farsight.index.messages import Cache
from tests.farsight.index.world import World


@pytest.fixture
def world() -> World:
    """An empty index."""
    return World()


@pytest.fixture
def cache(world: World) -> Cache:
    """Endpoint `a`, known since its beginning: blocks 1, 2, 3 on the device."""
    cache = Cache("a")
    world.hear(cache)
    assert world.index.apply(cache.store(1, 2, 3)) == "applied"
    world.hear(cache)
    return cache
