"""The whole sidecar between an engine, etcd and NATS."""

import asyncio
import os
import signal
import sys

import pytest
from prometheus_client import REGISTRY

from farsight import discovery, subjects
from farsight.bus import Bus
from farsight.etcd import Etcd
from farsight.pb.types_pb2 import Confidence
from tests.fakes.engine import FakeEngine, body_of, cleared, removed, stored
from tests.fakes.kv_reader import KvReader, keys_in
from tests.services.sidecar.events_for import keys_of, tokens_of
from tests.services.sidecar.running import (
    ENDPOINT,
    Servers,
    record,
    registered,
    settled,
    sidecar,
    withdrawn,
)
from tests.waiting import eventually

A, B, C = tokens_of(1), tokens_of(2), tokens_of(3)
MODEL = "model"  # what events_for seeds its keys with


def bad_batches() -> float:
    """How many have been counted."""
    return (
        REGISTRY.get_sample_value("farsight_sidecar_bad_batches_total", {"reason": "msgpack"}) or 0
    )


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


async def test_registers_its_engine_and_reports_load(
    servers: Servers, etcd: Etcd, reader: KvReader
) -> None:
    """The record is in etcd, the heartbeat on NATS; both name the same epoch."""
    async with FakeEngine(model=MODEL, loras=["ad"]) as engine:
        engine.running_requests, engine.waiting_requests = 3, 2
        async with sidecar(servers.settings(engine.url, pool="p")) as runtime:
            found = await registered(etcd)
            await eventually(lambda: reader.load.epoch == found.epoch)
            assert runtime.readiness.ready

    assert (found.model, found.pool, list(found.lora_names)) == (MODEL, "p", ["ad"])
    assert (reader.load.running_requests, reader.load.waiting_requests) == (3, 2)
    assert (reader.load.kv_usage_ratio, reader.load.kv_blocks_held) == (0.3, 0)


async def test_follows_the_cache(servers: Servers, reader: KvReader, bus: Bus) -> None:
    """Blocks of before and after its start; deltas and snapshots tell the same."""
    async with FakeEngine(model=MODEL) as engine:
        await engine.publish(stored([1, 2], A + B))
        async with sidecar(servers.settings(engine.url)):
            await eventually(lambda: reader.is_exact and len(reader.device) == 2)
            await engine.publish(removed([2]), stored([3], C, parent=1))
            await eventually(lambda: reader.seq == 2 and reader.is_exact)
            _, snapshot = await reader.ask_snapshot()

            assert reader.device == keys_in(keys_of(A + C))
            assert (snapshot.epoch, snapshot.seq) == (reader.epoch, reader.seq)
            assert keys_in(snapshot.tiers[0].keys) == reader.device
        assert await bus.list_objects(subjects.KV_BUCKET) == []


async def test_fills_gaps(servers: Servers, reader: KvReader) -> None:
    """Batches that ZMQ dropped are replayed within the epoch."""
    async with FakeEngine(model=MODEL) as engine, sidecar(servers.settings(engine.url)):
        await eventually(lambda: reader.is_exact)
        epoch = reader.epoch
        engine.retain(body_of([stored([1], A)], 2.0))
        await engine.publish(stored([2], B, parent=1))
        await eventually(lambda: reader.device == keys_in(keys_of(A + B)))

        await eventually(lambda: reader.is_exact)
        assert reader.epoch == epoch


async def test_an_engine_restart_is_a_new_epoch(
    servers: Servers, etcd: Etcd, reader: KvReader
) -> None:
    """What the old process held is void, also before the new one holds anything."""
    async with FakeEngine(model=MODEL) as engine, sidecar(servers.settings(engine.url)):
        await engine.publish(stored([1], A))
        await eventually(lambda: len(reader.device) == 1)
        before = await registered(etcd)
        await engine.restart()

        after = await registered(etcd, after_epoch=before.epoch)
        await eventually(lambda: reader.epoch == after.epoch and reader.is_exact)
        assert reader.device == set()
        await engine.publish(stored([2], B))
        await eventually(lambda: reader.device == keys_in(keys_of(B)))


async def test_an_engine_may_come_back_different(servers: Servers, etcd: Etcd) -> None:
    """Another block size at the same address is described anew."""
    async with FakeEngine(model=MODEL) as engine, sidecar(servers.settings(engine.url)):
        before = await registered(etcd)
        await engine.die()
        engine.block_size = 64
        await engine.restart()
        after = await registered(etcd, after_epoch=before.epoch)

        assert (before.block_size_tokens, after.block_size_tokens) == (16, 64)


async def test_a_malformed_batch_is_read_again(servers: Servers, reader: KvReader) -> None:
    """The engine retains a good copy: a new epoch is EXACT again."""
    async with FakeEngine(model=MODEL) as engine, sidecar(servers.settings(engine.url)):
        await engine.publish(stored([1], A))
        await eventually(lambda: reader.is_exact and len(reader.device) == 1)
        epoch = reader.epoch
        good = body_of([stored([2], B, parent=1)], 2.0)
        await engine.publish_body(good[:-3], retained=good)
        await eventually(lambda: reader.epoch > epoch and reader.is_exact)

        assert reader.device == keys_in(keys_of(A + B))


async def test_a_batch_that_stays_malformed_degrades_until_a_clear(
    servers: Servers, reader: KvReader
) -> None:
    """It is counted, the rest is followed, and the reason is told."""
    counted = bad_batches()
    async with FakeEngine(model=MODEL) as engine, sidecar(servers.settings(engine.url)):
        await engine.publish(stored([1], A))
        await eventually(lambda: reader.is_exact and len(reader.device) == 1)
        await engine.publish_body(b"\xc1")
        await eventually(lambda: reader.load.kv_reason == "undecodable-events")
        assert reader.load.kv_confidence == Confidence.CONFIDENCE_DEGRADED
        await engine.publish(stored([2], B, parent=1))
        await eventually(lambda: reader.device == keys_in(keys_of(A + B)))
        assert not reader.is_exact

        await engine.publish(cleared(), stored([3], C))
        await eventually(lambda: reader.is_exact and reader.device == keys_in(keys_of(C)))
    assert bad_batches() > counted


async def test_a_partial_replay_is_degraded(servers: Servers, reader: KvReader) -> None:
    """The engine's ring does not reach back to its first batch."""
    async with FakeEngine(model=MODEL, ring_batches=1) as engine:
        await engine.publish(stored([1], A))
        await engine.publish(stored([2], B))
        async with sidecar(servers.settings(engine.url)):
            await eventually(lambda: reader.device == keys_in(keys_of(B)))
            await eventually(lambda: reader.load.kv_reason == "partial-replay")


async def test_an_engine_without_events_is_approximate(
    servers: Servers, etcd: Etcd, reader: KvReader
) -> None:
    """It can be routed to, and says why nothing is known about its cache."""
    async with (
        FakeEngine(model=MODEL, with_events=False) as engine,
        sidecar(servers.settings(engine.url)),
    ):
        await registered(etcd)
        await eventually(lambda: reader.load.kv_reason == "no-kv-events")

    assert reader.load.kv_confidence == Confidence.CONFIDENCE_APPROXIMATE


async def test_a_sick_engine_is_withdrawn_and_keeps_its_epoch(
    servers: Servers, etcd: Etcd, reader: KvReader
) -> None:
    """A pause in its health does not cost the mirror."""
    async with FakeEngine(model=MODEL) as engine, sidecar(servers.settings(engine.url)) as runtime:
        await engine.publish(stored([1], A))
        await eventually(lambda: reader.is_exact and len(reader.device) == 1)
        before = await registered(etcd)
        engine.is_healthy = False
        await withdrawn(etcd)
        assert not runtime.readiness.ready

        engine.is_healthy = True
        after = await registered(etcd)
        assert after.epoch == before.epoch == reader.epoch
        assert len(reader.device) == 1


async def test_a_dead_engine_is_withdrawn(servers: Servers, etcd: Etcd) -> None:
    """And stays so until it is back."""
    async with FakeEngine(model=MODEL) as engine, sidecar(servers.settings(engine.url)):
        before = await registered(etcd)
        await engine.die()
        await withdrawn(etcd)
        await asyncio.sleep(0.5)
        assert await record(etcd) is None
        await engine.restart()

        assert (await registered(etcd)).epoch > before.epoch


async def test_waits_for_an_engine_that_comes_later(servers: Servers, etcd: Etcd) -> None:
    """Readiness says what is missing."""
    engine = FakeEngine(model=MODEL)
    async with engine:
        url = engine.url
        await engine.die()
        async with sidecar(servers.settings(url)) as runtime:
            await asyncio.sleep(0.5)
            assert not runtime.readiness.ready
            await engine.restart()
            await registered(etcd)
            await eventually(lambda: runtime.readiness.ready)


async def test_adapters_that_come_and_go_are_registered(servers: Servers, etcd: Etcd) -> None:
    """Engines load them while they run."""
    async with FakeEngine(model=MODEL) as engine, sidecar(servers.settings(engine.url)):
        await registered(etcd)
        engine.loras = ["new"]
        await settled(etcd, lambda found: found is not None and list(found.lora_names) == ["new"])


async def test_a_new_sidecar_numbers_its_epoch_higher(servers: Servers, etcd: Etcd) -> None:
    """Also when the one before it had a clock that was ahead."""
    ahead = 1 << 50
    async with FakeEngine(model=MODEL) as engine:
        async with sidecar(servers.settings(engine.url)):
            left = await registered(etcd)
        left.epoch = ahead
        await etcd.put(discovery.endpoint_key(ENDPOINT), discovery.encode_record(left))
        async with sidecar(servers.settings(engine.url)):
            assert (await registered(etcd, after_epoch=ahead)).epoch == ahead + 1


async def test_stops_gracefully(servers: Servers, etcd: Etcd) -> None:
    """A real process: on SIGTERM the record goes and the exit code is 0."""
    async with FakeEngine(model=MODEL) as engine:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.sidecar",
            f"--engine-url={engine.url}",
            f"--endpoint-id={ENDPOINT}",
            f"--etcd={servers.etcd}",
            f"--nats={servers.nats}",
            "--lease-ttl-s=60",
            env=os.environ,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await registered(etcd)
            process.send_signal(signal.SIGTERM)

            assert await asyncio.wait_for(process.wait(), 10) == 0
            assert await record(etcd) is None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
