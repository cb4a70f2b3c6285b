"""A gateway in this process, before a scripted router and fake engines, all on real sockets."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from farsight.client import RouterClient
from farsight.discovery import encode_record
from farsight.pb.records_pb2 import EndpointRecord
from farsight.pb.router_pb2 import ReportEvent
from services.gateway.app import App
from services.gateway.engine import new_session
from services.gateway.fleet import Fleet
from services.gateway.proxy import Proxy
from services.gateway.service import listening
from services.gateway.settings import GatewaySettings
from tests.fakes import openai_engine, router
from tests.fakes.openai_engine import FakeEngine
from tests.fakes.router import FakeRouter
from tests.waiting import eventually

COMPLETION = {"model": "m", "prompt": "hello", "max_tokens": 3}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def endpoint_record(endpoint_id: str, url: str, **fields: Any) -> bytes:
    """An endpoint's record in etcd."""
    named: dict[str, Any] = {"model": "m", "block_size_tokens": 16, "key_block_tokens": 16}
    return encode_record(EndpointRecord(endpoint_id=endpoint_id, url=url, **named | fields))


@dataclass(slots=True)
class Rig:
    """What a test talks to and looks at."""

    url: str
    router: FakeRouter
    engines: list[FakeEngine]
    fleet: Fleet
    client: aiohttp.ClientSession
    stop: Callable[[], None]

    def post(self, body: Any, path: str = "/v1/completions", **headers: str) -> Any:
        """Send a JSON body, or bytes as they are; headers with _ for -."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(self.url + path, data=io.BytesIO(data), headers=named)

    async def event(self, kind: str) -> ReportEvent:
        """The first report of a kind, when it has come."""
        await eventually(lambda: bool(self.router.events_of(kind)))
        return self.router.events_of(kind)[0]


@asynccontextmanager
async def running(engines: int = 2, **settings: Any) -> AsyncIterator[Rig]:
    """A gateway over that many engines e0, e1, ..., tried in this order."""
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        fakes = [await enter(openai_engine.serving()) for _ in range(engines)]
        fake_router = await enter(router.serving(router.in_order(*(e.url for e in fakes))))
        defaults: dict[str, Any] = {"http_listen": "127.0.0.1:0", "drain_s": 5}
        chosen = GatewaySettings(**defaults | settings)
        fleet = Fleet(lambda part, why: None)
        client = await enter(RouterClient([fake_router.address], fleet.set_routers))
        session = await enter(new_session())
        stopping = asyncio.Event()
        app = App(
            Proxy(client, session, fleet, chosen), fleet, chosen.max_body_bytes, asyncio.Event()
        )
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def serve() -> None:
            async with listening(app, chosen.http_listen, chosen.drain_s) as address:
                ready.set_result(address)
                await stopping.wait()

        task = asyncio.create_task(serve())
        stack.push_async_callback(asyncio.wait_for, task, 10)
        stack.callback(stopping.set)
        user = await enter(aiohttp.ClientSession())
        url = f"http://{await ready}"
        yield Rig(url, fake_router, fakes, fleet, user, stopping.set)
