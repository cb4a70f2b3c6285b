"""Latency of the request on each candidate: the predictor, else the analytic model in process."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from farsight import metrics
from farsight.discovery import decode_bundle_pointer
from farsight.errors import BadRecord, InvalidField
from farsight.latency.analytic import AnalyticRates
from farsight.latency.features import Feature, FeatureMatrix
from farsight.latency.model import AnalyticModel
from farsight.latency.predictions import Predictions
from farsight.latency.rates import rates_for
from farsight.latency.remote import Answer
from farsight.latency.wire import rates_from_proto
from farsight.replicas import ReplicasAway
from services.router.roster import Roster

# What other decisions and reports change, and the analytic model reads.
_CHANGING = (
    Feature.UNCACHED_TOKENS,
    Feature.HOST_TOKENS,
    Feature.STORAGE_TOKENS,
    Feature.PREFILL_AHEAD_TOKENS,
    Feature.RUNNING_REQUESTS,
    Feature.RESIDENT_TOKENS,
)


class PredictorClient(Protocol):
    """A gRPC client or an embedded bundle."""

    async def predict(self, model: str, matrix: FeatureMatrix) -> Answer | None:
        """One prediction per row, None where there is no bundle; raises ReplicasAway when none can
        be had now."""
        ...


@dataclass(frozen=True, slots=True)
class Forecast:
    """Predictions for a matrix, and how they came about."""

    bundle_version: int
    matrix: FeatureMatrix
    predictions: Predictions
    fallback: str
    """Named fallback, empty when the predictor answered."""


class Forecaster:
    """Predicts, and keeps the rates of the live bundles for when the predictor is away."""

    def __init__(self, predictor: PredictorClient) -> None:
        self._predictor = predictor
        self._rates: dict[str, AnalyticRates] = {}
        self.versions: dict[str, int] = {}

    def update(self, values: Mapping[str, bytes]) -> None:
        """Take the mapping under BUNDLES_PREFIX."""
        rates: dict[str, AnalyticRates] = {}
        for value in values.values():
            try:
                pointer = decode_bundle_pointer(value)
                rates[pointer.model] = rates_from_proto(pointer.rates)
            except (BadRecord, InvalidField):
                metrics.bad_records.labels("bundle-pointer").inc()
        self._rates = rates

    def rates(self, model: str, accelerator: str) -> AnalyticRates:
        """Fitted rates of the model, else those of the accelerator's table."""
        return self._rates.get(model) or rates_for(accelerator)

    def prefill_ms_per_token(self, roster: Roster) -> npt.NDArray[np.float64]:
        """Linear prefill cost on each endpoint."""
        column = np.empty(len(roster))
        for accelerator, rows in roster.accelerators:
            rates = self.rates(roster.base_model, accelerator)
            column[rows] = rates.ttft.prefill_ms_per_token
        return column

    def _analytic(self, roster: Roster, matrix: FeatureMatrix) -> Predictions:
        """Analytic predictions, each row with the rates of its accelerator."""
        if len(roster.accelerators) == 1:
            accelerator, _ = roster.accelerators[0]
            return AnalyticModel(self.rates(roster.base_model, accelerator)).predict(matrix)
        stacked = np.empty((len(matrix), 4), np.float32)
        for accelerator, rows in roster.accelerators:
            model = AnalyticModel(self.rates(roster.base_model, accelerator))
            stacked[rows] = model.predict(matrix[rows]).stack()
        return Predictions(*stacked.T.copy())

    async def predict(self, roster: Roster, matrix: FeatureMatrix) -> Forecast:
        """Predictions for every row; never fails."""
        try:
            answer = await self._predictor.predict(roster.base_model, matrix)
        except ReplicasAway as error:
            analytic = self._analytic(roster, matrix)
            return Forecast(0, matrix, analytic, f"predictor-{error.why}")
        version = 0 if answer is None else answer.bundle_version
        self.versions[roster.base_model] = version
        if answer is None or version == 0:
            # No bundle yet: the rates of each accelerator are better than the default ones.
            return Forecast(0, matrix, self._analytic(roster, matrix), "")
        return Forecast(answer.bundle_version, matrix, answer.predictions, "")

    def revise(self, forecast: Forecast, roster: Roster, matrix: FeatureMatrix) -> Forecast:
        """The forecast for features that changed while it was made.

        Other decisions reserve load while this one waits for the predictor. The analytic model
        says by what factor that changes each latency; asking again would only wait again.
        """
        if np.array_equal(matrix[:, _CHANGING], forecast.matrix[:, _CHANGING]):
            return forecast
        before = self._analytic(roster, forecast.matrix)
        after = self._analytic(roster, matrix)
        old = forecast.predictions
        ttft = after.ttft_q50_ms / before.ttft_q50_ms
        tpot = after.tpot_q50_ms / before.tpot_q50_ms
        revised = Predictions(
            old.ttft_q50_ms * ttft,
            old.ttft_q90_ms * ttft,
            old.tpot_q50_ms * tpot,
            old.tpot_q90_ms * tpot,
        )
        return Forecast(forecast.bundle_version, matrix, revised, forecast.fallback)
