"""The gateway's HTTP server and what it depends on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from farsight.addresses import split_host_port
from farsight.client import RouterClient
from farsight.discovery import ENDPOINTS_PREFIX
from farsight.log import get_logger
from farsight.runtime import Runtime
from services.gateway.app import App
from services.gateway.engine import new_session
from services.gateway.fleet import Fleet
from services.gateway.proxy import Proxy
from services.gateway.settings import GatewaySettings

log = get_logger(__name__)

CANCEL_S = 0.5


@asynccontextmanager
async def listening(app: App, listen: str, drain_s: float) -> AsyncIterator[str]:
    """Serve HTTP and yield host:port; afterwards accept nothing more and finish what runs.

    What runs for longer than `drain_s` is cancelled.
    """
    host, port = split_host_port(listen, "http_listen")
    runner = web.AppRunner(
        app.web, handler_cancellation=True, access_log=None, shutdown_timeout=CANCEL_S
    )
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
        yield f"{listen.rpartition(':')[0]}:{runner.addresses[0][1]}"
        await site.stop()
        if runner.server is not None:
            runner.server.pre_shutdown()
        if not await app.drained(drain_s):
            log.warning("requests are cut off", extra={"drain_s": drain_s})
    finally:
        await runner.cleanup()


@asynccontextmanager
async def build(settings: GatewaySettings, runtime: Runtime) -> AsyncIterator[None]:
    """Wire routers, engines and etcd to the HTTP server."""
    fleet = Fleet(lambda part, why: runtime.readiness.set(part, not why, why))
    routers = settings.routers.split(",") if settings.routers else runtime.etcd
    async with (
        RouterClient(routers, on_replicas=fleet.set_routers) as router,
        new_session() as session,
    ):
        proxy = Proxy(router, session, fleet, settings)
        app = App(proxy, fleet, settings.max_body_bytes, runtime.stopping)
        async with listening(app, settings.http_listen, settings.drain_s) as address:
            runtime.public_address = settings.advertise or address
            runtime.spawn("endpoints", runtime.etcd.watch(ENDPOINTS_PREFIX, fleet.set_endpoints))
            log.info("HTTP is served", extra={"address": address})
            yield
