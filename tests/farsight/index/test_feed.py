"""The index fed by a real NATS, with scripted sidecars on the other side."""

import asyncio
from pathlib import Path

import pytest

from farsight import bus as bus_module
from farsight import metrics, subjects
from farsight.bus import Bus
from farsight.index import feed as feed_module
from farsight.index import snapshots
from farsight.index.feed import deltas_total
from farsight.index.snapshots import resyncs_total
from farsight.pb.events_pb2 import KvDelta, KvDoubt
from tests.conftest import free_port, launch_nats, stop, wait_for_port
from tests.farsight.index.messages import REMOVE, Cache, change
from tests.farsight.index.sidecars import Sidecar, feeding, is_exact
from tests.waiting import eventually


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that nobody answers are given up soon."""
    monkeypatch.setattr(snapshots, "SNAPSHOT_REQUEST_TIMEOUT_S", 0.3)
    monkeypatch.setattr(snapshots, "SNAPSHOT_RETRY_S", 0.05)


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


async def test_late_and_duplicated_deltas_change_nothing(bus: Bus, nats_url: str) -> None:
    """Every message twice, the old ones again later: nobody is asked, and all is as it was."""
    late = deltas_total.labels("late")
    before = late._value.get()

    async with feeding(nats_url) as feed, Sidecar(bus).alive() as sidecar:
        deltas = [sidecar.cache.store(key) for key in range(1, 20)]
        deltas += [sidecar.cache.tell(change(REMOVE, [key])) for key in range(1, 10)]
        for delta in deltas:
            await sidecar.send(delta)
            await sidecar.send(delta)
        for delta in deltas[::-1]:
            await sidecar.send(delta)
        await eventually(lambda: late._value.get() == before + 2 * len(deltas))

        assert is_exact(feed, sidecar.cache)
        assert sidecar.asked_by == []


async def test_deltas_in_another_order_are_put_in_order(bus: Bus, nats_url: str) -> None:
    """What comes too early waits for what is missing."""
    async with feeding(nats_url) as feed, Sidecar(bus).alive() as sidecar:
        deltas = [sidecar.cache.store(key) for key in range(1, 40)]
        for at in range(0, len(deltas), 3):
            for delta in deltas[at : at + 3][::-1]:
                await sidecar.send(delta)

        await eventually(lambda: is_exact(feed, sidecar.cache))


async def test_what_was_lost_while_nats_was_away_is_repaired(tmp_path: Path) -> None:
    """Deltas that nobody could send show as a gap when it is back; a snapshot closes it."""
    port = free_port()
    url = f"nats://127.0.0.1:{port}"
    nats = launch_nats(port, tmp_path)
    try:
        await asyncio.to_thread(wait_for_port, port, nats)
        bus = Bus(url)
        await bus.run()
        async with feeding(url) as feed, Sidecar(bus).alive() as sidecar:
            await sidecar.send(sidecar.cache.store(1))
            await eventually(lambda: is_exact(feed, sidecar.cache))

            stop(nats)
            await eventually(lambda: not bus.connected)
            sidecar.cache.store(2)
            nats = launch_nats(port, tmp_path)
            await eventually(lambda: bus.connected)
            await sidecar.send(sidecar.cache.store(3))

            await eventually(lambda: is_exact(feed, sidecar.cache))
            assert sidecar.asked_by != []
        await bus.close()
    finally:
        stop(nats)


async def test_a_doubt_forces_a_fresh_snapshot(bus: Bus, nats_url: str) -> None:
    """What a router doubts is DEGRADED until the sidecar has written its mirror anew."""
    async with feeding(nats_url) as feed, Sidecar(bus).alive() as sidecar:
        await sidecar.send(sidecar.cache.store(1, 2))
        await eventually(lambda: is_exact(feed, sidecar.cache))

        doubt = KvDoubt(endpoint_id="a", epoch=1, router_id="r1", mean_error_tokens=200)
        await bus.publish(subjects.doubt("a"), doubt.SerializeToString())
        await eventually(lambda: bool(sidecar.asked_by))

        assert sidecar.was_fresh
        await eventually(lambda: is_exact(feed, sidecar.cache))


async def test_a_doubt_is_not_removed_by_what_was_stored_before(bus: Bus, nats_url: str) -> None:
    """The sidecar has to answer; until then the endpoint is not EXACT."""
    async with feeding(nats_url) as feed:
        sidecar = Sidecar(bus)
        await sidecar.heartbeat()
        await sidecar.send(sidecar.cache.store(1, 2))
        await sidecar.store_snapshot()
        await eventually(lambda: is_exact(feed, sidecar.cache))
        stored = count("stored")

        feed.index.doubt("a", 1)
        await eventually(lambda: count("stored") > stored)
        await asyncio.sleep(0.1)

        assert feed.index.wants_fresh("a")
        async with sidecar.alive():
            await eventually(lambda: is_exact(feed, sidecar.cache))


async def test_a_queue_that_is_full_is_a_counted_loss_and_is_repaired(
    bus: Bus, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages past the bound are dropped; the gap that they leave is closed by a snapshot."""
    monkeypatch.setattr(bus_module, "PENDING_MESSAGES", 4)
    dropped = metrics.bus_dropped.labels("slow-consumer")
    before = dropped._value.get()

    async with feeding(nats_url) as feed, Sidecar(bus).alive() as sidecar:
        for key in range(1, 500):
            await sidecar.send(sidecar.cache.store(key))
        await eventually(lambda: dropped._value.get() > before)

        await eventually(lambda: is_exact(feed, sidecar.cache))
        assert sidecar.asked_by != []
