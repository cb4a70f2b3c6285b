"""The gRPC Predictor service and what it runs on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from farsight.errors import InvalidField, Overloaded
from farsight.latency import wire
from farsight.latency.features import FeatureMatrix
from farsight.latency.manifest import MAX_MODEL_NAME
from farsight.latency.predictions import LatencyModel, Predictions
from farsight.pb import predictor_pb2_grpc
from farsight.pb.predictor_pb2 import (
    BundleStatus,
    PredictorStatusReply,
    PredictorStatusRequest,
    PredictReply,
    PredictRequest,
)
from farsight.runtime import Runtime
from services.predictor import metrics
from services.predictor.bundles import Bundles, LiveBundle
from services.predictor.settings import PredictorSettings

Context = grpc.aio.ServicerContext[Any, Any]


class PredictorServicer(predictor_pb2_grpc.PredictorServicer):
    """Checks calls and answers them from the live bundles."""

    def __init__(self, bundles: Bundles, settings: PredictorSettings) -> None:
        self._bundles = bundles
        self._settings = settings
        self._large_calls = 0

    async def Predict(self, request: PredictRequest, context: Context) -> PredictReply:
        """One prediction per row, all from one bundle."""
        if not 1 <= len(request.model) <= MAX_MODEL_NAME:
            raise InvalidField("model", f"1 to {MAX_MODEL_NAME} characters")
        matrix = wire.decode_matrix(
            request.matrix, request.rows, request.schema_hash, self._settings.max_rows
        )
        model = self._bundles.model(request.model)
        predictions = await self._predict(model, matrix)
        metrics.rows.labels("bundle" if model.version else "analytic").inc(len(matrix))
        return wire.encode_reply(model.version, predictions)

    async def _predict(self, model: LatencyModel, matrix: FeatureMatrix) -> Predictions:
        if len(matrix) <= self._settings.inline_rows:
            return model.predict(matrix)
        if self._large_calls >= self._settings.max_large_calls:
            metrics.overloads.inc()
            raise Overloaded(f"{self._large_calls} large calls are in flight")
        self._large_calls += 1
        try:
            return await asyncio.to_thread(model.predict, matrix)
        finally:
            self._large_calls -= 1

    async def Status(
        self, request: PredictorStatusRequest, context: Context
    ) -> PredictorStatusReply:
        """The live bundles."""
        return PredictorStatusReply(
            replica_id=self._settings.replica_id,
            bundles=[_status(live) for live in self._bundles.live()],
        )


def _status(live: LiveBundle) -> BundleStatus:
    manifest = live.bundle.manifest
    return BundleStatus(
        model=manifest.model,
        version=manifest.version,
        sha256=live.bundle.sha256,
        trained_unix_ms=manifest.trained_unix_ms,
        sample_count=manifest.sample_count,
        loaded_unix_ms=live.loaded_unix_ms,
    )


@asynccontextmanager
async def build(settings: PredictorSettings, runtime: Runtime) -> AsyncIterator[None]:
    """Follow the bundles and serve."""
    bundles = Bundles(runtime.etcd, runtime.bus, settings)
    servicer = PredictorServicer(bundles, settings)
    predictor_pb2_grpc.add_PredictorServicer_to_server(servicer, runtime.server)
    runtime.expose("farsight.v1.Predictor")
    runtime.readiness.set("bundles", False, "bundle pointers are not listed yet")
    runtime.spawn("bundle pointers", bundles.watch())
    runtime.spawn("bundle loads", bundles.follow())
    runtime.spawn("readiness", _ready_when_listed(bundles, runtime))
    yield


async def _ready_when_listed(bundles: Bundles, runtime: Runtime) -> None:
    await bundles.listed.wait()
    runtime.readiness.set("bundles", True)
