"""The live bundle of each model: follows the pointers in etcd, fetches, verifies, swaps.

A bundle that is refused or cannot be fetched leaves the one before it in place, and so does a
pointer that vanishes.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass

from farsight import discovery, metrics
from farsight.bus import Bus
from farsight.errors import BadBundle, BadRecord, BusUnavailable
from farsight.etcd import Etcd
from farsight.latency import bundle
from farsight.latency.bundle import LoadedBundle
from farsight.latency.model import AnalyticModel
from farsight.latency.predictions import LatencyModel
from farsight.log import get_logger
from farsight.pb.records_pb2 import BundlePointer
from farsight.subjects import BUNDLE_BUCKET
from services.predictor import metrics as own_metrics
from services.predictor.settings import PredictorSettings

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LiveBundle:
    """A bundle in use, and since when."""

    bundle: LoadedBundle
    loaded_unix_ms: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a pointer in etcd asks for."""

    model: str
    version: int
    sha256: str
    object_name: str


class Bundles:
    """One live bundle per model, replaced by reference."""

    def __init__(self, etcd: Etcd, bus: Bus, settings: PredictorSettings) -> None:
        self._etcd = etcd
        self._bus = bus
        self._settings = settings
        self._analytic = AnalyticModel()
        self._wanted: dict[str, Wanted] = {}
        self._live: dict[str, LiveBundle] = {}
        self._refused: dict[str, str] = {}
        self._changed = asyncio.Event()
        self.listed = asyncio.Event()
        bus.on_reconnect(self._changed.set)

    def model(self, name: str) -> LatencyModel:
        """The model's live bundle, the analytic model when there is none."""
        live = self._live.get(name)
        return self._analytic if live is None else live.bundle

    def live(self) -> list[LiveBundle]:
        """Every live bundle."""
        return list(self._live.values())

    async def watch(self) -> None:
        """Follow the pointers; never returns."""
        await self._etcd.watch(discovery.BUNDLES_PREFIX, self._on_pointers)

    def _on_pointers(self, values: Mapping[str, bytes]) -> None:
        for key, value in values.items():
            try:
                wanted = _parse(value)
            except BadRecord as error:
                metrics.bad_records.labels("bundle").inc()
                log.warning("bundle pointer refused", extra={"key": key, "error": str(error)})
                continue
            if wanted.model in self._wanted or len(self._wanted) < self._settings.max_models:
                self._wanted[wanted.model] = wanted
        self.listed.set()
        self._changed.set()

    async def follow(self) -> None:
        """Make every wanted bundle live, retrying what could not be fetched; never returns."""
        pause_s = self._settings.retry_min_s
        while True:
            self._changed.clear()
            if await self._load_wanted():
                pause_s = self._settings.retry_min_s
                await self._changed.wait()
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), pause_s)
            pause_s = min(2 * pause_s, self._settings.retry_max_s)

    async def _load_wanted(self) -> bool:
        """Load what is neither live nor refused; False when a fetch has to be retried."""
        complete = True
        for wanted in list(self._wanted.values()):
            if self._is_settled(wanted):
                continue
            try:
                await self._load(wanted)
            except BusUnavailable as error:
                complete = False
                own_metrics.failed_fetches.inc()
                log.warning("bundle not fetched", extra={**_fields(wanted), "error": str(error)})
            except BadBundle as error:
                self._refused[wanted.model] = wanted.sha256
                own_metrics.refused_bundles.labels(error.kind).inc()
                log.error("bundle refused", extra={**_fields(wanted), "error": str(error)})
        return complete

    def _is_settled(self, wanted: Wanted) -> bool:
        if self._refused.get(wanted.model) == wanted.sha256:
            return True
        live = self._live.get(wanted.model)
        return live is not None and live.bundle.sha256 == wanted.sha256

    async def _load(self, wanted: Wanted) -> None:
        try:
            data = await self._bus.get_object(
                BUNDLE_BUCKET, wanted.object_name, bundle.MAX_BUNDLE_BYTES
            )
        except BadRecord as error:
            raise BadBundle("size", str(error)) from error
        if data is None:
            raise BusUnavailable(f"object {wanted.object_name} is not there")
        loaded = await asyncio.to_thread(bundle.load, data, wanted.sha256)
        if (loaded.manifest.model, loaded.version) != (wanted.model, wanted.version):
            raise BadBundle("format", "manifest and pointer name different models or versions")
        self._live[wanted.model] = LiveBundle(loaded, int(time.time() * 1000))
        own_metrics.loaded_bundles.inc()
        own_metrics.bundle_version.labels(wanted.model).set(loaded.version)
        log.info("bundle live", extra=_fields(wanted))


def _parse(value: bytes) -> Wanted:
    pointer: BundlePointer = discovery.decode_bundle_pointer(value)
    return Wanted(pointer.model, pointer.version, pointer.sha256, pointer.object_name)


def _fields(wanted: Wanted) -> dict[str, object]:
    return {"model": wanted.model, "version": wanted.version, "sha256": wanted.sha256}
