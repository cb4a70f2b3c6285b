"""`python -m services.router` as a process."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio
import pytest

from farsight.bus import Bus
from farsight.channel import connect
from farsight.discovery import SERVICES_PREFIX, decode_service
from farsight.etcd import Etcd
from farsight.pb.records_pb2 import ServiceRecord
from farsight.pb.router_pb2 import RouteRequest
from farsight.pb.router_pb2_grpc import RouterStub
from tests.services.router.deployed import Sidecars
from tests.services.router.given import record, tokens

REQUEST = RouteRequest(model="m", token_ids=tokens(100).tobytes())


@asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[Process]:
    """A router process, gone at the end."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.router", *arguments, stdout=PIPE, stderr=PIPE
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


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
    async with process("--etcd", etcd_url, "--nats", nats_url, "--replica-id", "p1") as router:
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
        output, errors = await asyncio.wait_for(router.communicate(), 15)

    lines = (output + errors).decode().splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    assert reply.endpoint.endpoint_id == "a"
    assert router.returncode == 0
    assert "stopped" in json.dumps(events)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--index-budget-ms", "-1"], "index_budget_ms"),
        (["--max-prompt-bytes", "999999999"], "max_prompt_bytes"),
        (["--replica-id", "no spaces"], "replica_id"),
        (["--config", "/nowhere.yaml"], "--config"),
    ],
)
async def test_bad_settings_exit_2_and_are_named(arguments: list[str], named: str) -> None:
    """Before anything is started."""
    async with process(*arguments) as router:
        _, errors = await asyncio.wait_for(router.communicate(), 15)

    assert router.returncode == 2
    assert named in errors.decode()


async def test_an_unknown_profile_is_a_bad_setting() -> None:
    """It does not start with a profile that it does not have."""
    async with process("--profile", "x") as router:
        _, errors = await asyncio.wait_for(router.communicate(), 15)

    assert router.returncode == 2
    assert "predicted" in errors.decode()
