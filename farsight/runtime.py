"""The life of a service process: settings, start, readiness, registration, drain, exit.

A service is `run(kind, Settings, build)`, where `build(settings, runtime)` is an async context
manager that adds its servicers and tasks. Dependencies may come up in any order and go away.
"""

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import uvloop

from farsight import __version__, discovery, log, metrics
from farsight.bus import Bus
from farsight.etcd import Etcd, Registration
from farsight.pb.records_pb2 import ServiceRecord
from farsight.server import Server
from farsight.settings import ServiceSettings, load

logger = log.get_logger(__name__)
S = TypeVar("S", bound=ServiceSettings)


class Readiness:
    """Which parts a service still waits for."""

    def __init__(self) -> None:
        self._missing: dict[str, str] = {}
        self.changed = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Nothing is missing."""
        return not self._missing

    def set(self, part: str, ok: bool, why: str = "") -> None:
        """Say that a part is there, or why it is not."""
        before = dict(self._missing)
        if ok:
            self._missing.pop(part, None)
        else:
            self._missing[part] = why
        if before != self._missing:
            logger.info("readiness", extra={"ready": self.ready, "missing": dict(self._missing)})
            self.changed.set()


class Runtime:
    """What a running service has at hand."""

    def __init__(self, kind: str, settings: ServiceSettings, tasks: asyncio.TaskGroup) -> None:
        self.kind = kind
        self.replica_id = settings.replica_id
        self.etcd = Etcd(settings.etcd)
        self.bus = Bus(settings.nats)
        self.endpoint = Server(settings.listen)
        self.server = self.endpoint.grpc
        self.exporter = metrics.Exporter(settings.metrics_listen)
        self.readiness = Readiness()
        self.stopping = asyncio.Event()
        self.index_copies = 0  # of an indexer, for its record
        self.public_address = settings.advertise or self.endpoint.address
        self._settings = settings
        self._group = tasks
        self._owned: list[asyncio.Task[None]] = []
        self._started_unix_ms = int(time.time() * 1000)

    def spawn(self, name: str, task: Coroutine[Any, Any, None]) -> None:
        """Own a task; an exception in it ends the process with exit code 1."""
        self._owned.append(self._group.create_task(task, name=name))

    def expose(self, service_name: str) -> None:
        """Report health for a gRPC service and list it in reflection."""
        self.endpoint.expose(service_name)

    def record(self) -> bytes:
        """This replica's record in etcd."""
        return discovery.encode_record(
            ServiceRecord(
                kind=self.kind,
                replica_id=self.replica_id,
                address=self.public_address,
                metrics_address=self._metrics_address(),
                started_unix_ms=self._started_unix_ms,
                version=__version__,
                ready=self.readiness.ready,
                index_copies=self.index_copies,
            )
        )

    def _metrics_address(self) -> str:
        """The metrics port on the host that peers reach this replica at."""
        host = self.public_address.rpartition(":")[0]
        return f"{host}:{self.exporter.address.rpartition(':')[2]}"

    async def live(self) -> None:
        """Serve until `stopping`; then deregister and drain."""
        registration = self.etcd.register(
            discovery.service_key(self.kind, self.replica_id),
            self.record,
            self._settings.lease_ttl_s,
        )
        await self.endpoint.start()
        self.spawn("bus", self.bus.run())
        self.spawn("registration", registration.run())
        self.spawn("health", self._follow_readiness(registration))
        logger.info("started", extra={"address": self.endpoint.address, "version": __version__})
        await self.stopping.wait()
        logger.info("stopping")
        await registration.withdraw()
        await self.endpoint.set_serving(False)
        await self.endpoint.stop(self._settings.drain_s)

    async def _follow_readiness(self, registration: Registration) -> None:
        while not self.stopping.is_set():
            self.readiness.changed.clear()
            registration.update()
            await self.endpoint.set_serving(self.readiness.ready)
            await self.readiness.changed.wait()

    async def close(self) -> None:
        """End the owned tasks and the connections."""
        for task in self._owned:
            task.cancel()
        await asyncio.gather(*self._owned, return_exceptions=True)
        await self.bus.close()
        await self.etcd.close()
        self.exporter.close()


def settle_heap() -> None:
    """What was loaded stays: full passes of the collector need not look at it during calls."""
    gc.collect()
    gc.freeze()


async def _serve(
    kind: str,
    settings: S,
    build: Callable[[S, Runtime], AbstractAsyncContextManager[None]],
) -> None:
    async with asyncio.TaskGroup() as tasks:
        runtime = Runtime(kind, settings, tasks)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, runtime.stopping.set)
        try:
            async with build(settings, runtime):
                await runtime.live()
        finally:
            await runtime.close()


def run(
    kind: str,
    settings_class: type[S],
    build: Callable[[S, Runtime], AbstractAsyncContextManager[None]],
    argv: Sequence[str] | None = None,
) -> None:
    """The whole of a service's `__main__`: exit code 0 after SIGTERM, 1 after a crash, 2 on bad
    settings. `--check` prints the settings and stops."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    check = "--check" in arguments
    settings = load(settings_class, [a for a in arguments if a != "--check"])
    if check:
        sys.stdout.write(settings.model_dump_json(indent=2) + "\n")
        return
    log.setup(kind, settings.replica_id, settings.log_level, settings.log_format)
    try:
        uvloop.run(_serve(kind, settings, build))
    except BaseExceptionGroup:
        logger.exception("crashed")
        raise SystemExit(1) from None
    logger.info("stopped")
