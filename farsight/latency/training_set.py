"""Samples as columns, oldest first: what every fit and every judgement of a fit works on."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farsight.latency.analytic import Float64s
from farsight.latency.features import FeatureMatrix


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Completed requests in the order of their decisions."""

    features: FeatureMatrix
    """(samples, FEATURE_COUNT), as they were at the decision."""
    ttft_ms: Float64s
    """Dispatch to first token; 0 when unknown."""
    tpot_ms: Float64s
    """Per output token after the first; 0 when unknown."""

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, rows: slice) -> "TrainingSet":
        return TrainingSet(self.features[rows], self.ttft_ms[rows], self.tpot_ms[rows])

    @property
    def has_ttft(self) -> npt.NDArray[np.bool_]:
        """Rows whose TTFT is known."""
        return self.ttft_ms > 0

    @property
    def has_tpot(self) -> npt.NDArray[np.bool_]:
        """Rows whose TPOT is known."""
        return self.tpot_ms > 0
