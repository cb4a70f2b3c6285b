"""`python -m services.indexer` as a process."""

import asyncio
import json
from pathlib import Path

from farsight import discovery, subjects
from farsight.bus import Bus
from farsight.channel import connect
from farsight.etcd import Etcd
from farsight.pb import index_pb2_grpc, types_pb2
from farsight.pb.index_pb2 import MatchRequest
from farsight.pb.records_pb2 import ServiceRecord
from farsight.server import Server
from tests.conftest import free_port, launch_nats, stop, wait_for_port
from tests.farsight.index.messages import Cache, packed
from tests.services.processes import (
    NOT_SERVING,
    SERVING,
    ended,
    health,
    process,
    terminated,
    until_health,
)

KEY = discovery.service_key("indexer", "indexer-1")


async def record(etcd: Etcd) -> ServiceRecord:
    """The record that the process writes."""
    async with asyncio.timeout(15):
        while (value := await etcd.get(KEY)) is None:  # noqa: ASYNC110 # another process writes it
            await asyncio.sleep(0.05)
    return discovery.decode_service(value)


async def test_it_lives_and_leaves(etcd: Etcd, bus: Bus, etcd_url: str, nats_url: str) -> None:
    """Registered, SERVING, answering what NATS told it; after SIGTERM deregistered, exit code 0."""
    flags = (f"--etcd={etcd_url}", f"--nats={nats_url}", "--replica-id=indexer-1")
    async with process("indexer", *flags) as started:
        address = (await record(etcd)).address
        await until_health(address, SERVING)
        await until_health(address, SERVING, "farsight.v1.Index")
        await answers(bus, address)

        code, _, err = await terminated(started)

    assert code == 0, err
    assert await etcd.get(KEY) is None
    events = [json.loads(line) for line in err.splitlines()]
    assert {"service", "replica", "level", "event"} <= events[0].keys()
    assert [e["event"] for e in events if e["event"] in ("started", "stopping", "stopped")] == [
        "started", "stopping", "stopped",
    ]  # fmt: skip


async def answers(bus: Bus, address: str) -> None:
    """What is published is matched."""
    cache = Cache("a")
    delta = cache.store(1, 2, 3).SerializeToString()
    async with connect(address) as channel, asyncio.timeout(10):
        stub = index_pb2_grpc.IndexStub(channel)
        while True:
            await bus.publish(subjects.delta("a"), delta)
            await bus.publish(subjects.load("a"), cache.heartbeat().SerializeToString())
            reply = await stub.Match(MatchRequest(keys=packed([1, 2, 4])))
            if list(reply.confidence) == [types_pb2.CONFIDENCE_EXACT]:
                break
            await asyncio.sleep(0.05)
    assert list(reply.device_blocks) == [2]


async def test_it_waits_for_nats(etcd: Etcd, etcd_url: str, tmp_path: Path) -> None:
    """NOT_SERVING while NATS is not there, SERVING when it has come."""
    port = free_port()
    flags = (f"--etcd={etcd_url}", f"--nats=nats://127.0.0.1:{port}", "--replica-id=indexer-1")
    async with process("indexer", *flags) as started:
        address = (await record(etcd)).address
        assert await health(address) == NOT_SERVING

        nats = launch_nats(port, tmp_path)
        try:
            await asyncio.to_thread(wait_for_port, port, nats)
            await until_health(address, SERVING)
        finally:
            stop(nats)
        await until_health(address, NOT_SERVING)

        assert (await terminated(started))[0] == 0


async def test_it_stops_while_everything_is_away() -> None:
    """SIGTERM ends it with code 0 though neither etcd nor NATS was ever there."""
    listen = f"127.0.0.1:{free_port()}"
    flags = ("--etcd=127.0.0.1:1", "--nats=nats://127.0.0.1:1", f"--listen={listen}")
    async with process("indexer", *flags) as started:
        assert await health(listen) == NOT_SERVING

        code, _, err = await terminated(started)

    assert code == 0, err


async def test_bad_settings_are_all_told_at_once() -> None:
    """Exit code 2, one line for each problem, no traceback."""
    flags = ("--etcd=nowhere", "--lease-ttl-s=0", "--replica-id=a b", "--log-level=loud")
    async with process("indexer", *flags) as started:
        code, _, err = await ended(started)

    assert code == 2
    for name in ("etcd", "lease_ttl_s", "replica_id", "log_level"):
        assert f"settings: {name}: " in err
    assert "Traceback" not in err


async def test_check_prints_the_settings() -> None:
    """`--check` shows what it would run with, and ends."""
    async with process("indexer", "--check", "--replica-id=indexer-1") as started:
        code, out, _ = await ended(started)

    assert code == 0
    assert json.loads(out)["replica_id"] == "indexer-1"


async def test_a_port_that_is_taken_ends_it() -> None:
    """Exit code 1 and a log line that says why."""
    neighbour = Server("127.0.0.1:0")
    async with process("indexer", f"--listen={neighbour.address}") as started:
        code, _, err = await ended(started)

    assert code == 1
    assert json.loads(err.splitlines()[-1])["event"] == "crashed"
    assert neighbour.address in err
