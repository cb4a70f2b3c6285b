"""When an endpoint is withdrawn and offered again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from services.sidecar.engine import Engine
from services.sidecar.health import Health
from tests.fakes.engine import FakeEngine


@dataclass
class World:
    """A clock, the last read of the load, and what health has said."""

    now: float = 100.0
    load_read_at: float = 100.0
    said: list[str] = field(default_factory=list)

    async def sick(self, reason: str) -> None:
        """Keep it."""
        self.said.append(reason)

    def well(self) -> None:
        """Keep it."""
        self.said.append("well")


@asynccontextmanager
async def watched(world: World) -> AsyncIterator[tuple[FakeEngine, Health]]:
    """An engine and its health: sick after 2 failures, or 5 s without a load."""
    async with FakeEngine() as engine, aiohttp.ClientSession() as session:
        yield (
            engine,
            Health(
                Engine(session, engine.url, 1),
                lambda: world.load_read_at,
                world.sick,
                world.well,
                interval_s=1,
                failures=2,
                load_timeout_s=5,
                clock=lambda: world.now,
            ),
        )


async def test_one_failed_probe_is_nothing() -> None:
    """A hiccup does not cost the endpoint its record."""
    world = World()
    async with watched(world) as (engine, health):
        for is_healthy in (True, False, True, False, True):
            engine.is_healthy = is_healthy
            await health.probe()

    assert world.said == []


async def test_a_sick_engine_is_withdrawn_once_and_comes_back() -> None:
    """It is well when a probe succeeds and the load was read after that."""
    world = World()
    async with watched(world) as (engine, health):
        engine.is_healthy = False
        for _ in range(4):
            await health.probe()
        assert world.said == ["engine-unhealthy"]

        engine.is_healthy = True
        await health.probe()
        assert world.said == ["engine-unhealthy"]
        world.now = world.load_read_at = 101.0
        await health.probe()

    assert world.said == ["engine-unhealthy", "well"]


async def test_an_engine_whose_load_cannot_be_read_is_sick() -> None:
    """It answers probes, but nobody knows what it does."""
    world = World()
    async with watched(world) as (_, health):
        world.now = 106.0
        await health.probe()
        assert world.said == ["load-unreadable"]
        world.now = world.load_read_at = 107.0
        await health.probe()

    assert world.said == ["load-unreadable", "well"]


async def test_a_dead_engine_is_sick() -> None:
    """Nobody listens any more."""
    world = World()
    async with watched(world) as (engine, health):
        await engine.die()
        await health.probe()
        await health.probe()

    assert world.said == ["engine-unhealthy"]
