"""`python -m services.router` as a process."""

import asyncio
import json
import re
import signal

import grpc.aio
import pytest

from farsight.bus import Bus
from farsight.channel import connect
from farsight.discovery import SERVICES_PREFIX, decode_service
from farsight.etcd import Etcd
from farsight.pb.records_pb2 import ServiceRecord
from farsight.pb.router_pb2 import RouteRequest
from farsight.pb.router_pb2_grpc import RouterStub
from tests.services.processes import ended, process
from tests.services.router.deployed import Sidecars
from tests.services.router.given import record, tokens

REQUEST = RouteRequest(model="m", token_ids=tokens(100).tobytes())


async def registered(etcd: Etcd, gone: bool = False) -> ServiceRecord:
    """The router's record, once it is there (or the last one, once it is gone)."""
    last = ServiceRecord()
    async with asyncio.timeout(15):
        while True:
            found, _ = await etcd.list_prefix(f"{SERVICES_PREFIX}router/")
            for value in found.values():
                last = decode_service(value)
            if bool(found) is not gone:
                return last
            await asyncio.sleep(0.05)


async def test_sigterm_deregisters_drains_and_exits_0(
    etcd: Etcd, bus: Bus, etcd_url: str, nats_url: str
) -> None:
    """It decided before; its log is JSON."""
    await Sidecars(etcd, bus).join(record("a"))
    flags = ("--etcd", etcd_url, "--nats", nats_url, "--replica-id", "p1")
    async with process("router", *flags) as router:
        address = (await registered(etcd)).address
        async with connect(address) as channel:
            stub = RouterStub(channel)
            async with asyncio.timeout(10):
                while True:
                    try:
                        reply = await stub.Route(REQUEST, wait_for_ready=True)
                        break
                    except grpc.aio.AioRpcError:
                        await asyncio.sleep(0.05)
        router.send_signal(signal.SIGTERM)
        await registered(etcd, gone=True)
        code, output, errors = await ended(router)

    lines = (output + errors).splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    assert reply.endpoint.endpoint_id == "a"
    assert code == 0
    assert "stopped" in json.dumps(events)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--index-budget-ms", "-1"], "index_budget_ms"),
        (["--max-prompt-bytes", "999999999"], "max_prompt_bytes"),
        (["--replica-id", "no spaces"], "replica_id"),
        (["--profile", "x"], "profile: .*predicted"),
        (["--config", "/nowhere.yaml"], "--config"),
    ],
)
async def test_bad_settings_exit_2_and_are_named(arguments: list[str], named: str) -> None:
    """Before anything is started."""
    async with process("router", *arguments) as router:
        code, _, errors = await ended(router)

    assert code == 2
    assert re.search(named, errors)
