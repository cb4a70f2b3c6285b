"""Restarts and outages around a sidecar: what is known afterwards, and how sure it is."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from nats.js.api import ObjectStoreConfig
from prometheus_client import REGISTRY

from farsight.bus import Bus
from farsight.errors import BusUnavailable
from farsight.pb.events_pb2 import KvSnapshot
from farsight.subjects import KV_BUCKET, MIRROR_BUCKET
from services.sidecar.saved_mirror import MAX_BYTES, decode
from services.sidecar.snapshots import Snapshots
from tests.conftest import free_port, launch_nats, stop, wait_for_port
from tests.fakes.engine import FakeEngine, body_of, removed, stored
from tests.fakes.kv_reader import KvReader, keys_in
from tests.services.sidecar.events_for import keys_of, tokens_of
from tests.services.sidecar.running import ENDPOINT, Servers, sidecar
from tests.services.sidecar.test_snapshots import Source
from tests.waiting import eventually

MODEL = "model"  # what events_for seeds its keys with
RING = 20
LIMIT_S = 40
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def servers(etcd_url: str, nats_url: str) -> Servers:
    """The real servers."""
    return Servers(etcd_url, nats_url)


@pytest.fixture
async def reader(bus: Bus) -> KvReader:
    """A reader that has subscribed before anything is sent."""
    reader = KvReader(bus, ENDPOINT)
    await bus.flush()
    return reader


class Workload:
    """One-block prompts that come and go; `held` is what the engine has."""

    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self._next = 1
        self.blocks: list[int] = []

    @property
    def held(self) -> set[bytes]:
        """Keys in the cache."""
        return {keys_of(tokens_of(block)) for block in self.blocks}

    async def run(self, batches: int) -> None:
        """Publish so many batches; one in four evicts the oldest block of all."""
        for i in range(batches):
            if i % 4 == 3:
                await self._engine.publish(removed([self.blocks.pop(0)]))
            else:
                self.blocks.append(self._next)
                await self._engine.publish(stored([self._next], tokens_of(self._next)))
                self._next += 1
            await asyncio.sleep(0.002)


def looked(result: str) -> float:
    """How often a look for a saved mirror ended so."""
    name = "farsight_sidecar_saved_mirrors_total"
    return REGISTRY.get_sample_value(name, {"result": result}) or 0


async def exact(reader: KvReader, workload: Workload) -> None:
    """Return when the reader is EXACT and equal to the engine."""
    await eventually(lambda: reader.is_exact and reader.device == workload.held, LIMIT_S)


async def followed(reader: KvReader, workload: Workload) -> None:
    """Return when live batches reach the sidecar, so that its engine's ring cannot pass it."""
    for _ in range(2):
        await exact(reader, workload)
        await workload.run(1)
    await exact(reader, workload)


async def asked(reader: KvReader) -> KvSnapshot:
    """A snapshot; JetStream comes back later than NATS itself."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                return (await reader.ask_snapshot())[1]
            except BusUnavailable:
                await asyncio.sleep(0.2)


async def saved_seq(bus: Bus) -> int:
    """Which batch the saved mirror waits for."""
    try:
        data = await bus.get_object(MIRROR_BUCKET, ENDPOINT, MAX_BYTES)
    except BusUnavailable:
        return 0
    return 0 if data is None else decode(data)[1].position.next_seq


async def saved_from(bus: Bus, seq: int) -> None:
    """Return when a mirror of batch `seq` or later is saved."""
    async with asyncio.timeout(LIMIT_S):
        while await saved_seq(bus) < seq:  # noqa: ASYNC110 # NATS is another process
            await asyncio.sleep(0.05)


@asynccontextmanager
async def process(
    servers: Servers, engine: FakeEngine
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A sidecar as a process of its own, killed at the end."""
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.sidecar",
        f"--engine-url={engine.url}",
        f"--endpoint-id={ENDPOINT}",
        f"--etcd={servers.etcd}",
        f"--nats={servers.nats}",
        env=os.environ,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield started
    finally:
        started.send_signal(signal.SIGKILL)
        await started.wait()


async def test_a_killed_sidecar_is_exact_again_beyond_the_ring(
    servers: Servers, bus: Bus, reader: KvReader
) -> None:
    """The engine has long forgotten its first batches; the saved mirror has them."""
    async with FakeEngine(model=MODEL, ring_batches=RING) as engine:
        workload = Workload(engine)
        async with process(servers, engine):
            await eventually(lambda: reader.is_exact, 60)
            await followed(reader, workload)
            await workload.run(4 * RING)
            await exact(reader, workload)
            await saved_from(bus, 4 * RING - RING // 4)
        epoch = reader.epoch
        await workload.run(RING // 2)

        async with sidecar(servers.settings(engine.url)):
            await eventually(lambda: reader.epoch > epoch, LIMIT_S)
            await exact(reader, workload)
            await workload.run(RING)
            await exact(reader, workload)
            _, snapshot = await reader.ask_snapshot()

    assert keys_in(snapshot.tiers[0].keys) == workload.held


async def test_a_sidecar_that_stops_leaves_its_mirror(servers: Servers, reader: KvReader) -> None:
    """As it is at the end, so that any ring reaches back to it."""
    async with FakeEngine(model=MODEL, ring_batches=RING) as engine:
        workload = Workload(engine)
        for rounds in range(3):
            before = looked("loaded")
            async with sidecar(servers.settings(engine.url)):
                await followed(reader, workload)
                await workload.run(RING)
                await exact(reader, workload)
            assert looked("loaded") == before + (rounds > 0)
            await workload.run(3)


async def test_a_sidecar_that_was_away_too_long_is_degraded(
    servers: Servers, reader: KvReader
) -> None:
    """What the ring has forgotten meanwhile is lost."""
    refused = looked("ring-overrun")
    async with FakeEngine(model=MODEL, ring_batches=RING) as engine:
        workload = Workload(engine)
        async with sidecar(servers.settings(engine.url)):
            await followed(reader, workload)
            await workload.run(2 * RING)
            await exact(reader, workload)
        await workload.run(2 * RING)

        async with sidecar(servers.settings(engine.url)):
            await eventually(lambda: reader.load.kv_reason == "partial-replay", LIMIT_S)
            assert not reader.is_exact

    assert looked("ring-overrun") == refused + 1


async def test_another_engine_process_has_another_cache(servers: Servers, reader: KvReader) -> None:
    """A saved mirror of the process before it is not used, whatever its numbers say."""
    async with FakeEngine(model=MODEL) as engine:
        before = Workload(engine)
        async with sidecar(servers.settings(engine.url)):
            await before.run(10)
            await exact(reader, before)
        epoch, refused = reader.epoch, looked("other-engine")
        await engine.restart()
        after = Workload(engine)
        await after.run(20)

        async with sidecar(servers.settings(engine.url)):
            await eventually(lambda: reader.epoch > epoch, LIMIT_S)
            await exact(reader, after)

    assert looked("other-engine") == refused + 1


async def test_a_saved_mirror_that_cannot_be_read_is_left(
    servers: Servers, bus: Bus, reader: KvReader
) -> None:
    """The engine is read from its beginning."""
    await bus.put_object(MIRROR_BUCKET, ENDPOINT, b"nonsense")
    refused = looked("bad")
    async with FakeEngine(model=MODEL) as engine:
        workload = Workload(engine)
        await workload.run(10)
        async with sidecar(servers.settings(engine.url)):
            await exact(reader, workload)

    assert looked("bad") == refused + 1


async def test_other_settings_do_not_fit_a_saved_mirror(servers: Servers, reader: KvReader) -> None:
    """Counts of copies mean something else in the other report mode."""
    async with FakeEngine(model=MODEL) as engine:
        workload = Workload(engine)
        async with sidecar(servers.settings(engine.url)):
            await workload.run(10)
            await exact(reader, workload)
        epoch = reader.epoch

        async with sidecar(servers.settings(engine.url, kv_report_mode="full")):
            await eventually(lambda: reader.epoch > epoch, LIMIT_S)
            await exact(reader, workload)


async def test_a_bad_batch_beyond_the_ring_is_read_again(
    servers: Servers, bus: Bus, reader: KvReader
) -> None:
    """The new epoch goes on with the saved mirror, in front of the batch."""
    async with FakeEngine(model=MODEL, ring_batches=RING) as engine:
        workload = Workload(engine)
        async with sidecar(servers.settings(engine.url)):
            await followed(reader, workload)
            await workload.run(3 * RING)
            await exact(reader, workload)
            await saved_from(bus, 3 * RING - RING // 4)
            epoch = reader.epoch
            workload.blocks.append(10_000)
            good = body_of([stored([10_000], tokens_of(10_000))], 2.0)
            await engine.publish_body(good[:-3], retained=good)

            await eventually(lambda: reader.epoch > epoch, LIMIT_S)
            await exact(reader, workload)


@pytest.mark.parametrize("keeps_objects", [True, False])
async def test_nats_may_go_and_come_back(
    etcd_url: str, tmp_path: Path, keeps_objects: bool
) -> None:
    """Deltas are lost, the mirror is not: a snapshot tells all, also when NATS has lost its own."""
    port = free_port()
    servers = Servers(etcd_url, f"nats://127.0.0.1:{port}")
    server = launch_nats(port, tmp_path / "first")
    wait_for_port(port, server)
    bus = Bus(servers.nats)
    try:
        await bus.run()
        reader = KvReader(bus, ENDPOINT)
        await bus.flush()
        async with FakeEngine(model=MODEL, ring_batches=RING) as engine:
            workload = Workload(engine)
            async with sidecar(servers.settings(engine.url)):
                await followed(reader, workload)
                await workload.run(RING)
                await exact(reader, workload)
                await reader.ask_snapshot()
                epoch = reader.epoch
                stop(server)
                await workload.run(2 * RING)
                server = launch_nats(port, tmp_path / ("first" if keeps_objects else "second"))
                wait_for_port(port, server)
                await eventually(lambda: bus.connected, LIMIT_S)
                await workload.run(1)
                await eventually(
                    lambda: reader.load.kv_blocks_held == len(workload.blocks), LIMIT_S
                )

                snapshot = await asked(reader)
                assert keys_in(snapshot.tiers[0].keys) == workload.held
                assert (snapshot.epoch, reader.load.kv_confidence) == (epoch, 1)
                assert reader.missed
                await saved_from(bus, 3 * RING - RING // 4)
    finally:
        await bus.close()
        stop(server)


async def test_snapshots_of_the_living_outlast_those_of_the_dead(bus: Bus, nats_url: str) -> None:
    """The bucket forgets what nobody renews."""
    client = await nats.connect(nats_url)
    await client.jetstream().create_object_store(KV_BUCKET, ObjectStoreConfig(ttl=4))
    await client.close()
    source = Source(seq=1, blocks=3)

    def snapshots(endpoint_id: str) -> Snapshots:
        return Snapshots(
            bus,
            endpoint_id,
            source.position,
            source.contents,
            max_age_s=3600,
            min_interval_s=0,
            renew_s=0.5,
        )

    await snapshots("dead").answer(b"")
    living = asyncio.create_task(snapshots("living").run())
    async with asyncio.timeout(LIMIT_S - 5):
        while await bus.list_objects(KV_BUCKET) != ["living"]:  # noqa: ASYNC110
            await asyncio.sleep(0.2)

    assert await bus.get_object(KV_BUCKET, "living", 1000)
    living.cancel()
