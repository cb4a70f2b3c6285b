"""The gateway as a process, found through etcd."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from farsight.discovery import decode_service, encode_record, endpoint_key, service_key
from farsight.etcd import Etcd
from farsight.pb.records_pb2 import ServiceRecord
from tests.fakes import openai_engine, router
from tests.services.gateway.rig import COMPLETION, endpoint_record
from tests.waiting import eventually


@asynccontextmanager
async def process(etcd_url: str, nats_url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m services.gateway` as replica g1."""
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.gateway", "--replica-id=g1", "--drain-s=5"),
        *(f"--etcd={etcd_url}", f"--nats={nats_url}", "--http-listen=127.0.0.1:0"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.kill()
        await started.wait()


async def http_address(etcd: Etcd) -> str:
    """Where replica g1 serves HTTP, when it has registered."""
    while (value := await etcd.get(service_key("gateway", "g1"))) is None:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return decode_service(value).address


async def until_ready(client: aiohttp.ClientSession, url: str) -> None:
    """Return when the gateway knows a router and an endpoint."""
    while True:
        async with client.get(url + "/readyz") as answer:
            if answer.status == 200:
                return
        await asyncio.sleep(0.05)


async def test_a_gateway_serves_and_ends_a_stream_after_sigterm(
    etcd: Etcd, etcd_url: str, nats_url: str
) -> None:
    """It finds router and endpoint in etcd, drains on SIGTERM, leaves etcd and exits 0."""
    async with (
        openai_engine.serving() as engine,
        router.serving(router.in_order(engine.url)) as decider,
        process(etcd_url, nats_url) as gateway,
        aiohttp.ClientSession() as client,
    ):
        engine.token_gap_s = 0.3
        record = ServiceRecord(kind="router", replica_id="r", address=decider.address)
        await etcd.put(service_key("router", "r"), encode_record(record))
        await etcd.put(endpoint_key("e0"), endpoint_record("e0", engine.url))
        url = "http://" + await http_address(etcd)
        await until_ready(client, url)

        async with client.post(
            url + "/v1/completions", json=COMPLETION | {"stream": True}
        ) as answer:
            await answer.content.readany()
            os.kill(gateway.pid, signal.SIGTERM)
            rest = await answer.content.read()
        code = await gateway.wait()

        assert rest.endswith(b"data: [DONE]\n\n")
        assert code == 0
        assert await etcd.get(service_key("gateway", "g1")) is None
        await eventually(lambda: len(decider.events_of("finished")) == 1)
