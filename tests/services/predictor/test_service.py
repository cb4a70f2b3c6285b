"""The Predictor service over gRPC, with real etcd and NATS."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import grpc.aio
import numpy as np
import pytest

from farsight.bus import Bus
from farsight.channel import connect
from farsight.discovery import bundle_key, encode_record
from farsight.etcd import Etcd
from farsight.latency import wire
from farsight.latency.bundle import digest, load, pack
from farsight.latency.features import SCHEMA_HASH
from farsight.latency.fit import fit_latency
from farsight.latency.fitted import FittedModel, LatencyFit
from farsight.latency.manifest import FORMAT_VERSION, Manifest
from farsight.latency.model import AnalyticModel
from farsight.latency.rates import DEFAULT_RATES
from farsight.latency.scores import score
from farsight.pb import predictor_pb2_grpc
from farsight.pb.predictor_pb2 import PredictorStatusRequest, PredictReply
from farsight.pb.records_pb2 import BundlePointer
from farsight.server import FIELD_KEY, Server
from farsight.subjects import BUNDLE_BUCKET
from services.predictor import metrics
from services.predictor.bundles import Bundles
from services.predictor.service import PredictorServicer
from services.predictor.settings import PredictorSettings
from tests.fakes.latency_samples import requests, samples
from tests.waiting import eventually

MODEL = "org/model-8b"
ROWS = requests(100, seed=1)


def make_bundle(version: int, model: str = MODEL) -> bytes:
    """A bundle of a fit that differs by version."""
    known = samples(300, seed=version)
    fit: LatencyFit = fit_latency(known, DEFAULT_RATES)
    manifest = Manifest(
        FORMAT_VERSION, model, version, SCHEMA_HASH, 1_700_000_000_000, len(known),
        fit.rates, fit.ttft.offsets, fit.tpot.offsets, score(FittedModel(fit), known),
    )  # fmt: skip
    return pack(manifest, fit, ROWS)


class Fleet:
    """A predictor, and the hands that publish to it."""

    def __init__(self, etcd: Etcd, bus: Bus, bundles: Bundles, channel: grpc.aio.Channel) -> None:
        self._etcd = etcd
        self._bus = bus
        self.bundles = bundles
        self.stub = predictor_pb2_grpc.PredictorStub(channel)

    async def publish(self, data: bytes, version: int, sha256: str = "") -> None:
        """Store an object and point at it."""
        await self._bus.put_object(BUNDLE_BUCKET, f"object-{version}", data)
        await self.point(version, sha256 or digest(data))

    async def point(self, version: int, sha256: str) -> None:
        """Move the pointer."""
        pointer = BundlePointer(
            version=version, sha256=sha256, object_name=f"object-{version}", model=MODEL
        )
        await self._etcd.put(bundle_key(MODEL), encode_record(pointer))

    async def remove_pointer(self) -> None:
        """Delete the pointer."""
        await self._etcd.delete(bundle_key(MODEL))

    async def predict(self, model: str = MODEL) -> PredictReply:
        """Predict ROWS."""
        return await self.stub.Predict(wire.encode_request(model, ROWS), timeout=5)

    async def until_version(self, version: int) -> None:
        """Wait until the predictor answers with a version."""
        await eventually(lambda: self.bundles.model(MODEL).version == version)
        assert (await self.predict()).bundle_version == version


@pytest.fixture
async def fleet(etcd: Etcd, bus: Bus) -> AsyncIterator[Fleet]:
    """A predictor in this process."""
    settings = PredictorSettings.model_validate(
        {"replica_id": "p1", "max_rows": 500, "inline_rows": 200, "retry_min_s": 0.05}
    )
    bundles = Bundles(etcd, bus, settings)
    server = Server("127.0.0.1:0")
    servicer = PredictorServicer(bundles, settings)
    predictor_pb2_grpc.add_PredictorServicer_to_server(servicer, server.grpc)
    await server.start()
    tasks = [asyncio.create_task(bundles.watch()), asyncio.create_task(bundles.follow())]
    async with connect(server.address) as channel:
        yield Fleet(etcd, bus, bundles, channel)
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await server.stop(0)


def refused(reason: str) -> float:
    """How many bundles were refused so far."""
    return float(metrics.refused_bundles.labels(reason)._value.get())


async def test_before_any_bundle_the_analytic_model_answers(fleet: Fleet) -> None:
    """Version 0, default rates, also for a model that nobody has heard of."""
    reply = await fleet.predict("never-seen")

    expected = AnalyticModel().predict(ROWS)
    assert reply.bundle_version == 0
    assert np.array_equal(wire.decode_reply(reply, len(ROWS)).stack(), expected.stack())


async def test_a_published_bundle_answers(fleet: Fleet) -> None:
    """The service's answers are the bundle's own, and Status shows where it comes from."""
    data = make_bundle(1)
    await fleet.publish(data, 1)
    await fleet.until_version(1)

    reply = await fleet.predict()
    status = await fleet.stub.Status(PredictorStatusRequest())

    expected = load(data, digest(data)).predict(ROWS)
    assert np.array_equal(wire.decode_reply(reply, len(ROWS)).stack(), expected.stack())
    assert status.replica_id == "p1"
    (live,) = status.bundles
    assert (live.model, live.version, live.sha256) == (MODEL, 1, digest(data))
    assert live.sample_count == 300
    assert live.loaded_unix_ms >= live.trained_unix_ms > 0


async def test_bundles_are_swapped_under_traffic(fleet: Fleet) -> None:
    """No call fails and no answer mixes versions while bundles change."""
    contents = {version: make_bundle(version) for version in (1, 2, 3)}
    expected = {0: AnalyticModel().predict(ROWS).stack()} | {
        version: load(data, digest(data)).predict(ROWS).stack()
        for version, data in contents.items()
    }
    seen: list[int] = []

    async def ask() -> None:
        while not seen or seen[-1] != 3:
            reply = await fleet.predict()
            seen.append(reply.bundle_version)
            answer = wire.decode_reply(reply, len(ROWS)).stack()
            assert np.array_equal(answer, expected[reply.bundle_version])

    asking = asyncio.gather(*(ask() for _ in range(3)))
    for version, data in contents.items():
        await fleet.publish(data, version)
        await fleet.until_version(version)
    await asyncio.wait_for(asking, 10)

    assert seen == sorted(seen)


@pytest.mark.parametrize("kind", ["digest", "golden", "format", "schema"])
async def test_a_bad_bundle_is_refused_and_the_old_one_stays(fleet: Fleet, kind: str) -> None:
    """Refusals are counted by reason; a later good bundle is taken."""
    good = make_bundle(1)
    await fleet.publish(good, 1)
    await fleet.until_version(1)
    before = refused(kind)

    if kind == "digest":
        await fleet.publish(make_bundle(2), 2, sha256=digest(b"something else"))
    else:
        await fleet.publish(spoiled(kind), 2)
    await eventually(lambda: refused(kind) > before)

    assert (await fleet.predict()).bundle_version == 1
    await fleet.publish(make_bundle(3), 3)
    await fleet.until_version(3)


def spoiled(kind: str) -> bytes:
    """A bundle of version 2 that is bad in one way."""
    if kind == "format":
        return make_bundle(2, model="another-model")
    known = samples(300, seed=2)
    fit = fit_latency(known, DEFAULT_RATES)
    manifest = Manifest(
        FORMAT_VERSION, MODEL, 2, SCHEMA_HASH, 1, 300,
        fit.rates, fit.ttft.offsets, fit.tpot.offsets, score(FittedModel(fit), known),
    )  # fmt: skip
    if kind == "schema":
        manifest = replace(manifest, schema_hash="0" * 16)
    else:
        offsets = replace(manifest.ttft_offsets, q90=manifest.ttft_offsets.q90 + 0.1)
        manifest = replace(manifest, ttft_offsets=offsets)
    return pack(manifest, fit, ROWS)


async def test_an_object_that_comes_late_is_fetched(fleet: Fleet) -> None:
    """A pointer whose object is not there yet is tried again."""
    data = make_bundle(1)
    await fleet.point(1, digest(data))
    before = metrics.failed_fetches._value.get()
    await eventually(lambda: metrics.failed_fetches._value.get() > before)

    await fleet.publish(data, 1)

    await fleet.until_version(1)


async def test_a_pointer_that_vanishes_leaves_the_bundle(fleet: Fleet) -> None:
    """Losing etcd's data does not lose the model."""
    await fleet.publish(make_bundle(1), 1)
    await fleet.until_version(1)

    await fleet.remove_pointer()
    await asyncio.sleep(0.2)

    assert (await fleet.predict()).bundle_version == 1


async def test_large_calls_leave_the_loop_and_agree(fleet: Fleet) -> None:
    """Calls above the inline bound are answered with the same numbers."""
    rows = requests(500, seed=9)

    reply = await fleet.stub.Predict(wire.encode_request(MODEL, rows))

    assert np.array_equal(
        wire.decode_reply(reply, 500).stack(), AnalyticModel().predict(rows).stack()
    )


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("model", {"model": ""}),
        ("model", {"model": "x" * 257}),
        ("rows", {"rows": 0}),
        ("rows", {"rows": 501}),
        ("matrix", {"rows": 99}),
        ("matrix", {"matrix": b""}),
        ("schema_hash", {"schema_hash": "other"}),
    ],
)
async def test_bad_calls_name_their_field(
    fleet: Fleet, field: str, change: dict[str, object]
) -> None:
    """INVALID_ARGUMENT with the field in the trailing metadata."""
    request = wire.encode_request(MODEL, ROWS)
    for name, value in change.items():
        setattr(request, name, value)

    with pytest.raises(grpc.aio.AioRpcError) as error:
        await fleet.stub.Predict(request)

    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert dict(error.value.trailing_metadata() or ())[FIELD_KEY] == field
