"""`farsight status` against real servers."""

import asyncio
import json

from farsight import discovery
from farsight.etcd import Etcd
from farsight.pb.types_pb2 import Confidence
from tests.conftest import free_port
from tests.farsight.cli.fleet import endpoint_record, farsight, register, whole_fleet


async def test_whole_fleet(etcd: Etcd) -> None:
    """Everything is shown and the exit code is 0."""
    async with whole_fleet(etcd):
        outcome = await farsight("status", "--etcd", etcd.address)

    assert (outcome.exit_code, outcome.err) == (0, "")
    assert "Whole: 6 services, 2 endpoints" in outcome.out
    for kind in ("sidecar", "indexer", "predictor", "trainer", "router", "gateway"):
        assert f"{kind}-0" in outcome.out
    for shown in ("e0", "e1", "1,024", "predicted", "exact", "640", "80 ms"):
        assert shown in outcome.out


async def test_json(etcd: Etcd) -> None:
    """`--json` prints one object with the same content."""
    async with whole_fleet(etcd):
        outcome = await farsight("status", "--etcd", etcd.address, "--json")

    report = json.loads(outcome.out)
    assert report["is_whole"] is True
    assert report["problems"] == []
    fleet = report["fleet"]
    assert [e["endpoint_id"] for e in fleet["endpoints"]] == ["e0", "e1"]
    assert {s["health"] for s in fleet["services"]} == {"serving"}
    assert fleet["bundles"][0]["loaded"] == [{"predictor": "predictor-0", "version": 3}]
    assert fleet["trainer_leader"] == "trainer-0"


async def test_dead_replica(etcd: Etcd) -> None:
    """A replica that is gone is named; the rest is still shown."""
    async with whole_fleet(etcd) as fleet:
        await fleet.index_server.stop(0)
        outcome = await farsight("status", "--etcd", etcd.address)

    assert outcome.exit_code == 1
    assert f"indexer indexer-0 at {fleet.index_server.address}: unreachable" in outcome.out
    assert "Not whole, 1 found:" in outcome.out
    assert "trainer-0" in outcome.out


async def test_hung_replica(etcd: Etcd) -> None:
    """A replica that accepts connections and says nothing does not hold up the page."""
    async with whole_fleet(etcd):
        closed = asyncio.Event()

        async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await closed.wait()
            writer.close()

        server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        await register(etcd, "predictor", f"127.0.0.1:{port}")
        outcome = await farsight("status", "--etcd", etcd.address)
        closed.set()
        server.close()

    assert outcome.exit_code == 1
    assert f"predictor predictor-0 at 127.0.0.1:{port}: no answer in 2 s" in outcome.out


async def test_degraded_endpoint(etcd: Etcd) -> None:
    """A DEGRADED index source is a problem with its reason and lag."""
    async with whole_fleet(etcd) as fleet:
        source = fleet.index.sources[1]
        source.confidence = Confidence.CONFIDENCE_DEGRADED
        source.reason = "gap"
        source.announced_seq = 819
        outcome = await farsight("status", "--etcd", etcd.address)

    assert outcome.exit_code == 1
    assert "endpoint e1 at indexer indexer-0: DEGRADED, gap" in outcome.out


async def test_bad_and_unleased_records(etcd: Etcd) -> None:
    """Records that do not parse and endpoints without a lease are problems."""
    async with whole_fleet(etcd):
        await etcd.put(discovery.endpoint_key("broken"), b"{")
        await etcd.put(discovery.endpoint_key("e0"), endpoint_record("e0"))
        outcome = await farsight("status", "--etcd", etcd.address, "--json")

    problems = json.loads(outcome.out)["problems"]
    assert outcome.exit_code == 1
    assert "endpoint e0: its record has no lease and will never go" in problems
    assert any("/farsight/endpoints/broken is refused" in problem for problem in problems)


async def test_empty_etcd(etcd: Etcd) -> None:
    """Without any record every part is missing, in words."""
    outcome = await farsight("status", "--etcd", etcd.address)

    assert outcome.exit_code == 1
    for missing in ("no router is registered", "no endpoint is registered", "no trainer leads"):
        assert missing in outcome.out


async def test_no_etcd() -> None:
    """Without etcd there is one line on stderr."""
    address = f"127.0.0.1:{free_port()}"

    outcome = await farsight("status", "--etcd", address)

    assert (outcome.exit_code, outcome.out) == (1, "")
    assert outcome.err == f"farsight: etcd {address} does not answer; see --etcd\n"
