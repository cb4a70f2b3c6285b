"""One endpoint through the lives of its engine.

A life begins when the engine has been asked who it is, and ends when another process answers at its
address. During a life four tasks run: the KV state, the load, the health probes, and a look at the
served adapters. The endpoint's record is in etcd while the engine is well.
"""

import asyncio
import contextlib
import dataclasses

import aiohttp
import zmq.asyncio

from farsight import discovery, subjects
from farsight.errors import BadRecord, EtcdUnavailable
from farsight.log import get_logger
from farsight.runtime import Runtime
from services.sidecar import metrics
from services.sidecar.agreement import Agreement
from services.sidecar.engine import Engine, EngineUnavailable
from services.sidecar.follow import KvFollower
from services.sidecar.health import Health
from services.sidecar.load import EngineReplaced, LoadReporter
from services.sidecar.publisher import DeltaPublisher, unix_ms
from services.sidecar.registration import Description, describe, encode, lora_names
from services.sidecar.saved_mirror import STOP_S, EngineLife, SavedMirror
from services.sidecar.settings import SidecarSettings
from services.sidecar.snapshots import Contents, Position, Snapshots
from services.sidecar.source import EventSource, discover

log = get_logger(__name__)

FIRST_RETRY_S = 0.2
MAX_RETRY_S = 5.0


class Sidecar:
    """Owns everything that one sidecar process does."""

    def __init__(
        self,
        settings: SidecarSettings,
        runtime: Runtime,
        session: aiohttp.ClientSession,
        context: zmq.asyncio.Context,
    ) -> None:
        self._settings = settings
        self._runtime = runtime
        self._context = context
        self._engine = Engine(session, settings.engine_url, settings.http_timeout_s)
        self._publisher = DeltaPublisher(runtime.bus, settings.endpoint_id)
        self._snapshots = Snapshots(
            runtime.bus,
            settings.endpoint_id,
            self._position,
            self._contents,
            max_age_s=settings.snapshot_max_age_s,
            min_interval_s=settings.snapshot_min_interval_s,
        )
        self._key = discovery.endpoint_key(settings.endpoint_id)
        self._registration = runtime.etcd.register(self._key, self._record, settings.lease_ttl_s)
        self._description: Description | None = None
        self._follower: KvFollower | None = None
        self._saved: SavedMirror | None = None
        self._offered = False
        self._first_offer = asyncio.Event()
        self._registered_unix_ms = 0
        self.stopped = asyncio.Event()

    async def run(self) -> None:
        """Serve until the process stops; then withdraw the endpoint."""
        self._runtime.readiness.set("engine", False, "not asked yet")
        bus = self._runtime.bus
        bus.on_reconnect(self._forget_stored)
        bus.serve(subjects.snapshot(self._settings.endpoint_id), self._snapshots.answer)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = (self._lives(), self._snapshots.run(), self._keep_registered())
                serving = [group.create_task(task) for task in tasks]
                await self._runtime.stopping.wait()
                for task in serving:
                    task.cancel()
        finally:
            await self._withdraw("stopping")
            if self._runtime.stopping.is_set():  # an error may have left the mirror half changed
                await self._save_last()
            await self._snapshots.remove()
            self.stopped.set()

    async def _lives(self) -> None:
        await self._recall_epoch()
        while True:
            description, source = await self._wait_for_engine()
            self._description = description
            self._offered = True
            try:
                # In a task of its own: Python 3.11 leaves the owner of a TaskGroup whose child has
                # failed marked as being cancelled.
                await asyncio.create_task(self._live(description, source))
            except* EngineReplaced:
                log.warning("the engine process is another one")
            await self._withdraw("the engine process is another one")

    async def _keep_registered(self) -> None:
        await self._first_offer.wait()
        await self._registration.run()

    async def _recall_epoch(self) -> None:
        """Continue after the epoch that an earlier sidecar registered, where that is known."""
        try:
            if (value := await self._runtime.etcd.get(self._key)) is not None:
                self._publisher.resume_after(discovery.decode_endpoint(value).epoch)
        except (EtcdUnavailable, BadRecord) as error:
            log.info("no earlier epoch known", extra={"error": str(error)})

    async def _wait_for_engine(self) -> tuple[Description, EventSource | None]:
        pause_s = FIRST_RETRY_S
        while True:
            try:
                description = await describe(self._engine, self._settings)
                source = await discover(self._engine, self._settings)
            except (EngineUnavailable, BadRecord) as error:
                self._runtime.readiness.set("engine", False, str(error))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, MAX_RETRY_S)
                continue
            log.info("engine found", extra={"model": description.model, "events": str(source)})
            return description, source

    async def _live(self, description: Description, source: EventSource | None) -> None:
        """One life of the engine.

        :raises ExceptionGroup: with EngineReplaced, when it has ended.
        """
        settings = self._settings
        self._saved = saved = self._saved_mirror(description, source)
        self._follower = follower = self._new_follower(description, source)
        load = LoadReporter(
            self._engine,
            self._runtime.bus,
            settings.endpoint_id,
            settings.data_parallel_rank,
            description.process_start_unix_s,
            lambda: follower.status,
            storage_pool=settings.storage_pool,
            interval_s=settings.load_interval_s,
        )
        health = Health(
            self._engine,
            lambda: load.read_at,
            self._withdraw,
            self._offer,
            interval_s=settings.probe_interval_s,
            failures=settings.probe_failures,
            load_timeout_s=settings.load_timeout_s,
        )
        async with asyncio.TaskGroup() as group:
            for task in (follower.run(), load.run(), health.run(), self._follow_adapters()):
                group.create_task(task)
            if saved is not None:
                group.create_task(saved.run(follower.whole_at, follower.moment))

    def _new_follower(self, description: Description, source: EventSource | None) -> KvFollower:
        settings = self._settings
        agreement = None
        if settings.prefix_hash_algorithm != "off":
            agreement = Agreement(settings.prefix_hash_algorithm, settings.prefix_hash_seed)
        return KvFollower(
            self._context,
            source,
            description.layout,
            self._publisher,
            settings,
            description.kv_blocks,
            self._announce,
            saved=self._saved,
            observe=None if agreement is None else agreement.observe,
        )

    def _saved_mirror(
        self, description: Description, source: EventSource | None
    ) -> SavedMirror | None:
        if source is None or source.replay is None:
            return None
        life = EngineLife(description.process_start_unix_s, source.replay)
        return SavedMirror(self._runtime.bus, self._settings.endpoint_id, life, source.ring_batches)

    async def _save_last(self) -> None:
        """Leave the mirror of this moment to the next sidecar beside the same engine."""
        if self._saved is None or self._follower is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self._saved.store(await self._follower.moment())

    def _forget_stored(self) -> None:
        """NATS may have come back without its objects."""
        self._snapshots.forget()
        if self._saved is not None:
            self._saved.forget()

    async def _follow_adapters(self) -> None:
        """Register adapters that the engine loads and unloads while it runs."""
        while True:
            await asyncio.sleep(self._settings.models_interval_s)
            try:
                names = lora_names(await self._engine.models())
            except (EngineUnavailable, BadRecord) as error:
                log.debug("adapters not read", extra={"error": str(error)})
                continue
            if self._description is not None and names != self._description.lora_names:
                self._description = dataclasses.replace(self._description, lora_names=names)
                self._registration.update()

    def _offer(self) -> None:
        """The engine is well: have its record in etcd."""
        self._offered = True
        self._announce()

    def _announce(self) -> None:
        """Write the record of the epoch, unless the engine is sick."""
        if not self._offered:
            return
        self._registered_unix_ms = unix_ms()
        self._registration.update()
        self._first_offer.set()
        self._runtime.readiness.set("engine", True)
        metrics.registered.set(1)

    async def _withdraw(self, reason: str) -> None:
        self._offered = False
        self._runtime.readiness.set("engine", False, reason)
        metrics.registered.set(0)
        await self._registration.withdraw()

    def _record(self) -> bytes:
        assert self._description is not None
        return encode(
            self._description, self._settings, self._publisher.epoch, self._registered_unix_ms
        )

    def _position(self) -> Position | None:
        return None if self._follower is None else self._follower.position()

    async def _contents(self) -> Contents | None:
        return None if self._follower is None else await self._follower.contents()
