"""The index fed by a real NATS, with scripted sidecars on the other side."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from farsight import metrics, subjects
from farsight.bus import Bus
from farsight.index import feed as feed_module
from farsight.index.feed import IndexFeed, deltas_total, resyncs_total
from farsight.index.match import Confidence
from farsight.pb.events_pb2 import KvDelta, KvSnapshotReply, KvSnapshotRequest
from tests.farsight.index.messages import Cache
from tests.waiting import eventually

HEARTBEAT_S = 0.05


class Sidecar:
    """A cache that is told of over NATS."""

    def __init__(self, bus: Bus, endpoint_id: str = "a") -> None:
        self._bus = bus
        self.cache = Cache(endpoint_id)
        self.asked_by: list[str] = []
        self.subject = subjects.delta(endpoint_id)

    async def send(self, delta: KvDelta) -> None:
        """Publish a delta."""
        assert await self._bus.publish(self.subject, delta.SerializeToString())

    async def heartbeat(self) -> None:
        """Publish a load message."""
        name = self.cache.endpoint_id
        await self._bus.publish(subjects.load(name), self.cache.heartbeat().SerializeToString())

    async def store_snapshot(self) -> KvSnapshotReply:
        """Put the whole cache into the object store."""
        snapshot = self.cache.snapshot()
        name = subjects.token(self.cache.endpoint_id)
        await self._bus.put_object(subjects.KV_BUCKET, name, snapshot.SerializeToString())
        return KvSnapshotReply(object_name=name, epoch=snapshot.epoch, seq=snapshot.seq)

    async def answer(self, request: bytes) -> bytes:
        """A snapshot for whom asks."""
        self.asked_by.append(KvSnapshotRequest.FromString(request).replica_id)
        return (await self.store_snapshot()).SerializeToString()

    async def beat(self) -> None:
        """Heartbeats for ever."""
        while True:
            await self.heartbeat()
            await asyncio.sleep(HEARTBEAT_S)

    @contextlib.asynccontextmanager
    async def alive(self) -> AsyncIterator["Sidecar"]:
        """Beats and answers."""
        served = self._bus.serve(subjects.snapshot(self.cache.endpoint_id), self.answer)
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(self.beat())
            try:
                yield self
            finally:
                beating.cancel()
                await served.close()


@contextlib.asynccontextmanager
async def feeding(nats_url: str, replica_id: str = "indexer-1") -> AsyncIterator[IndexFeed]:
    """An index of its own connection, already subscribed."""
    bus = Bus(nats_url)
    feed = IndexFeed(bus, replica_id)
    running = asyncio.create_task(feed.run())
    await asyncio.sleep(0)
    await bus.run()
    await bus.flush()
    try:
        yield feed
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await bus.close()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that nobody answers are given up soon."""
    monkeypatch.setattr(feed_module, "SNAPSHOT_REQUEST_TIMEOUT_S", 0.3)
    monkeypatch.setattr(feed_module, "SNAPSHOT_RETRY_S", 0.05)


def agrees(feed: IndexFeed, cache: Cache) -> bool:
    """The index holds what the endpoint holds."""
    known = {s.endpoint_id: s for s in feed.index.report()}
    source = known.get(cache.endpoint_id)
    if source is None or (source.epoch, source.applied_seq) != (cache.epoch, cache.seq):
        return False
    held = feed.index.dump(cache.endpoint_id)[2]
    return {tier: frozenset(keys.tolist()) for tier, keys in held} == cache.held


def is_exact(feed: IndexFeed, cache: Cache) -> bool:
    """It does, and says so."""
    states = {s.endpoint_id: s.confidence for s in feed.index.report()}
    return states.get(cache.endpoint_id) is Confidence.EXACT and agrees(feed, cache)


def count(result: str) -> float:
    """Snapshots that were asked for, by result."""
    return float(resyncs_total.labels(result)._value.get())


async def test_a_life_from_its_start_needs_no_snapshot(bus: Bus, nats_url: str) -> None:
    """Deltas alone make an index that was there first EXACT."""
    async with feeding(nats_url) as feed, Sidecar(bus).alive() as sidecar:
        await eventually(lambda: is_exact(feed, sidecar.cache))
        for key in range(1, 200):
            await sidecar.send(sidecar.cache.store(key))

        await eventually(lambda: is_exact(feed, sidecar.cache))

        assert sidecar.asked_by == []


async def test_a_restarted_index_is_exact_again(bus: Bus, nats_url: str) -> None:
    """Snapshot and deltas, while more deltas flow; nobody asks an engine for anything."""
    async with Sidecar(bus).alive() as sidecar, Sidecar(bus, "b").alive() as other:
        for key in range(1, 200):
            await sidecar.send(sidecar.cache.store(key))
            await other.send(other.cache.store(key))

        async with feeding(nats_url, "indexer-2") as feed:
            for key in range(200, 400):
                await sidecar.send(sidecar.cache.store(key))
                await asyncio.sleep(0)
            await eventually(lambda: is_exact(feed, sidecar.cache))
            await eventually(lambda: is_exact(feed, other.cache))

        assert set(sidecar.asked_by) == {"indexer-2"}


async def test_a_lost_delta_is_repaired(bus: Bus, nats_url: str) -> None:
    """A gap in the middle and a lost tail, which only a heartbeat shows."""
    async with feeding(nats_url) as feed, Sidecar(bus).alive() as sidecar:
        await sidecar.send(sidecar.cache.store(1))
        await eventually(lambda: is_exact(feed, sidecar.cache))

        sidecar.cache.store(2)
        await sidecar.send(sidecar.cache.store(3))
        await eventually(lambda: is_exact(feed, sidecar.cache))
        sidecar.cache.store(4)
        await eventually(lambda: is_exact(feed, sidecar.cache))

        assert len(sidecar.asked_by) >= 2


async def test_a_stored_snapshot_serves_while_the_sidecar_does_not_answer(
    bus: Bus, nats_url: str
) -> None:
    """What was stored last is used, and is not called EXACT when it is behind."""
    sidecar = Sidecar(bus)
    sidecar.cache.store(1, 2, 3)
    await sidecar.store_snapshot()
    stored = count("stored")

    async with feeding(nats_url) as feed:
        await sidecar.heartbeat()
        await eventually(lambda: is_exact(feed, sidecar.cache))
        assert count("stored") == stored + 1

        sidecar.cache.store(4)
        await sidecar.heartbeat()
        await eventually(lambda: feed.index.report()[0].reason == "gap")
        assert feed.index.report()[0].blocks[0] == 3


async def test_without_any_snapshot_it_waits_and_asks_again(bus: Bus, nats_url: str) -> None:
    """Nothing stored and nobody there: counted, DEGRADED, and whole when the sidecar answers."""
    sidecar = Sidecar(bus)
    sidecar.cache.store(1)
    missing = count("missing")

    async with feeding(nats_url) as feed:
        await sidecar.heartbeat()
        await eventually(lambda: count("missing") > missing)
        assert feed.index.report()[0].reason == "waiting for a snapshot"

        async with sidecar.alive():
            await eventually(lambda: is_exact(feed, sidecar.cache))


async def test_a_bad_snapshot_is_refused_and_asked_for_again(bus: Bus, nats_url: str) -> None:
    """Bytes that do not parse, or another endpoint's object, never reach the tables."""
    sidecar = Sidecar(bus)
    sidecar.cache.store(1)
    stranger = Cache("z").snapshot().SerializeToString()

    async with feeding(nats_url) as feed:
        for bad in (b"\xff" * 100, stranger):
            failed = count("failed")
            await bus.put_object(subjects.KV_BUCKET, "a", bad)
            await asyncio.sleep(0.1)
            await sidecar.heartbeat()
            await eventually(lambda before=failed: count("failed") > before)  # type: ignore[misc] # mypy cannot infer a lambda with a default

        assert [s.endpoint_id for s in feed.index.report()] == ["a"]
        async with sidecar.alive():
            await eventually(lambda: is_exact(feed, sidecar.cache))


async def test_an_answer_that_is_no_message_is_survived(bus: Bus, nats_url: str) -> None:
    """A sidecar that answers nonsense is asked again."""
    sidecar = Sidecar(bus)
    sidecar.cache.store(1)
    failed = count("failed")

    async def nonsense(_: bytes) -> bytes:
        return b"\xff\xff"

    async with feeding(nats_url) as feed:
        served = bus.serve(subjects.snapshot("a"), nonsense)
        await bus.flush()
        await sidecar.heartbeat()
        await eventually(lambda: count("failed") > failed)
        await served.close()

        async with sidecar.alive():
            await eventually(lambda: is_exact(feed, sidecar.cache))


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff\xff\xff",
        KvDelta(endpoint_id="b", epoch=1, seq=1).SerializeToString(),
        KvDelta(
            endpoint_id="a",
            epoch=1,
            seq=1,
            changes=[{"action": 1, "tier": 1, "keys": b"abc"}],  # type: ignore[list-item] # protobuf takes mappings too
        ).SerializeToString(),
    ],
    ids=["no message", "another endpoint's", "torn keys"],
)
async def test_a_malformed_delta_is_counted_and_survived(
    bus: Bus, nats_url: str, payload: bytes
) -> None:
    """It is refused, and the stream goes on."""
    refused = deltas_total.labels("refused")._value.get()

    async with feeding(nats_url) as feed, Sidecar(bus).alive() as sidecar:
        await bus.publish(sidecar.subject, payload)
        await eventually(lambda: deltas_total.labels("refused")._value.get() > refused)
        await sidecar.send(sidecar.cache.store(1))
        await eventually(lambda: is_exact(feed, sidecar.cache))

        assert {s.endpoint_id for s in feed.index.report()} == {"a"}


async def test_a_malformed_heartbeat_is_counted_and_survived(bus: Bus, nats_url: str) -> None:
    """Bytes, an unknown confidence and a foreign subject are refused."""
    bad = metrics.bad_records.labels("load")
    before = bad._value.get()
    unknown = Cache("a").heartbeat(7)  # type: ignore[arg-type] # a confidence that we do not know
    foreign = Cache("b").heartbeat()

    async with feeding(nats_url) as feed:
        for payload in (b"\xff", unknown.SerializeToString(), foreign.SerializeToString()):
            await bus.publish(subjects.load("a"), payload)
        await eventually(lambda: bad._value.get() == before + 3)

        assert feed.index.report() == []


async def test_an_engine_that_restarts_is_followed(bus: Bus, nats_url: str) -> None:
    """The new life's deltas void the old life's blocks."""
    async with feeding(nats_url) as feed, Sidecar(bus).alive() as sidecar:
        await sidecar.send(sidecar.cache.store(1, 2, 3))
        await eventually(lambda: is_exact(feed, sidecar.cache))

        sidecar.cache.restart()
        await sidecar.send(sidecar.cache.store(9))

        await eventually(lambda: is_exact(feed, sidecar.cache))
        assert feed.index.report()[0].blocks[0] == 1


async def test_silent_endpoints_are_forgotten(
    bus: Bus, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint without heartbeats leaves the index."""
    monkeypatch.setattr(feed_module, "FORGET_AFTER_S", 0.3)

    async with feeding(nats_url) as feed:
        await Sidecar(bus).heartbeat()
        await eventually(lambda: len(feed.index.report()) == 1)

        await eventually(lambda: feed.index.report() == [])
