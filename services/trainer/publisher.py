"""Bundles out: the object first, then the pointer, and only if nobody else moved it."""

import asyncio
import contextlib
import time
from dataclasses import dataclass

import numpy as np

from farsight import discovery, metrics
from farsight.bus import Bus
from farsight.errors import BadBundle, BadRecord, BusUnavailable
from farsight.etcd import Etcd
from farsight.latency import bundle
from farsight.latency.bundle import LoadedBundle
from farsight.latency.features import SCHEMA_HASH
from farsight.latency.manifest import FORMAT_VERSION, Manifest
from farsight.latency.training_set import TrainingSet
from farsight.latency.wire import rates_to_proto
from farsight.log import get_logger
from farsight.pb.records_pb2 import BundlePointer
from farsight.subjects import BUNDLE_BUCKET, token
from services.trainer.challenge import Challenge

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Live:
    """The bundle that is live now, as far as it can be read."""

    record: bytes | None
    """The pointer in etcd, None when there is none."""
    version: int
    """0 without a pointer."""
    bundle: LoadedBundle | None
    """None when there is none, or it was refused or lost."""


class Publisher:
    """Reads and moves the live bundle of each model."""

    def __init__(self, etcd: Etcd, bus: Bus, keep_bundles: int) -> None:
        self._etcd = etcd
        self._bus = bus
        self._keep_bundles = keep_bundles
        self._known: dict[str, LoadedBundle] = {}

    async def live(self, model: str) -> Live:
        """The live bundle of a model.

        :raises EtcdUnavailable, BusUnavailable: it cannot be known now.
        """
        record = await self._etcd.get(discovery.bundle_key(model))
        if record is None:
            return Live(None, 0, None)
        try:
            pointer = discovery.decode_bundle_pointer(record)
        except BadRecord as error:
            metrics.bad_records.labels("bundle").inc()
            log.warning("bundle pointer refused", extra={"model": model, "error": str(error)})
            return Live(record, 0, None)
        return Live(record, pointer.version, await self._fetch(model, pointer))

    async def _fetch(self, model: str, pointer: BundlePointer) -> LoadedBundle | None:
        known = self._known.get(model)
        if known is not None and known.sha256 == pointer.sha256:
            return known
        try:
            data = await self._bus.get_object(
                BUNDLE_BUCKET, pointer.object_name, bundle.MAX_BUNDLE_BYTES
            )
            if data is None:
                return None
            self._known[model] = await asyncio.to_thread(bundle.load, data, pointer.sha256)
        except (BadBundle, BadRecord) as error:
            log.warning("live bundle refused", extra={"model": model, "error": str(error)})
            return None
        return self._known[model]

    async def publish(
        self, model: str, live: Live, won: Challenge, samples: TrainingSet
    ) -> int | None:
        """Publish a won challenge as the version after `live`; None when the pointer has moved.

        :raises EtcdUnavailable, BusUnavailable: it could not be published.
        :raises BadBundle: it does not load again.
        """
        version = live.version + 1
        data, loaded = await asyncio.to_thread(make_bundle, model, version, won, samples)
        object_name = f"{token(model)}.{version}.{loaded.sha256[:16]}"
        await self._bus.put_object(BUNDLE_BUCKET, object_name, data)
        record = discovery.encode_record(pointer_to(loaded, object_name))
        key = discovery.bundle_key(model)
        if not await self._etcd.put_if_unchanged(key, live.record, record):
            await self._bus.delete_object(BUNDLE_BUCKET, object_name)
            return None
        self._known[model] = loaded
        with contextlib.suppress(BusUnavailable):  # the next publication tries again
            await self._prune(model, version)
        return version

    async def _prune(self, model: str, version: int) -> None:
        for name in await self._bus.list_objects(BUNDLE_BUCKET):
            owner, _, rest = name.partition(".")
            number = rest.partition(".")[0]
            is_old = number.isdecimal() and int(number) <= version - self._keep_bundles
            if owner == token(model) and is_old:
                await self._bus.delete_object(BUNDLE_BUCKET, name)


def make_bundle(
    model: str, version: int, won: Challenge, samples: TrainingSet
) -> tuple[bytes, LoadedBundle]:
    """A bundle of a won challenge, packed and loaded again.

    :raises BadBundle: it does not load again.
    """
    rows = np.linspace(0, len(samples) - 1, bundle.MAX_GOLDEN_ROWS).astype(np.int64)
    manifest = _manifest(model, version, won, len(samples))
    data = bundle.pack(manifest, won.fit, samples.features[np.unique(rows)])
    return data, bundle.load(data, bundle.digest(data))


def _manifest(model: str, version: int, won: Challenge, sample_count: int) -> Manifest:
    return Manifest(
        format_version=FORMAT_VERSION,
        model=model,
        version=version,
        schema_hash=SCHEMA_HASH,
        trained_unix_ms=int(time.time() * 1000),
        sample_count=sample_count,
        rates=won.fit.rates,
        ttft_offsets=won.fit.ttft.offsets,
        tpot_offsets=won.fit.tpot.offsets,
        holdout=won.challenger,
    )


def pointer_to(loaded: LoadedBundle, object_name: str) -> BundlePointer:
    """What etcd is told of a bundle."""
    manifest = loaded.manifest
    return BundlePointer(
        version=manifest.version,
        sha256=loaded.sha256,
        object_name=object_name,
        schema_hash=manifest.schema_hash,
        trained_unix_ms=manifest.trained_unix_ms,
        sample_count=manifest.sample_count,
        rates=rates_to_proto(manifest.rates),
        model=manifest.model,
    )
