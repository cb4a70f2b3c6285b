"""What every latency model answers, and the interface it answers through."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from farsight.latency.features import FeatureMatrix

Milliseconds = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Predictions:
    """Latency quantiles per row, float32 milliseconds, positive, q90 >= q50."""

    ttft_q50_ms: Milliseconds
    ttft_q90_ms: Milliseconds
    tpot_q50_ms: Milliseconds
    tpot_q90_ms: Milliseconds

    def stack(self) -> npt.NDArray[np.float32]:
        """The four columns as one (rows, 4) matrix."""
        columns = (self.ttft_q50_ms, self.ttft_q90_ms, self.tpot_q50_ms, self.tpot_q90_ms)
        return np.array(columns, np.float32).T


class LatencyModel(Protocol):
    """Features in, latency quantiles out."""

    @property
    def version(self) -> int:
        """Bundle version, 0 for the analytic model alone."""

    def predict(self, matrix: FeatureMatrix) -> Predictions:
        """One prediction per row of a (rows, FEATURE_COUNT) matrix."""
