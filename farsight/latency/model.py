"""The analytic model behind the same call as a fitted bundle: the fallback that needs no I/O."""

from dataclasses import dataclass

import numpy as np

from farsight.latency import analytic
from farsight.latency.analytic import AnalyticRates
from farsight.latency.features import FeatureMatrix
from farsight.latency.predictions import Predictions
from farsight.latency.rates import DEFAULT_RATES

UNCALIBRATED_Q90_FACTOR = 1.5


@dataclass(frozen=True, slots=True)
class AnalyticModel:
    """Rates alone; q90 is q50 times UNCALIBRATED_Q90_FACTOR."""

    rates: AnalyticRates = DEFAULT_RATES
    version: int = 0

    def predict(self, matrix: FeatureMatrix) -> Predictions:
        """One prediction per row of a (rows, FEATURE_COUNT) matrix."""
        rows = analytic.clean(matrix)
        ttft_ms = analytic.ttft_ms(rows, self.rates.ttft).astype(np.float32)
        tpot_ms = analytic.tpot_ms(rows, self.rates.tpot).astype(np.float32)
        factor = np.float32(UNCALIBRATED_Q90_FACTOR)
        return Predictions(ttft_ms, ttft_ms * factor, tpot_ms, tpot_ms * factor)
