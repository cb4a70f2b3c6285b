"""Decisions that have not ended: what a report is matched with, and a sample is made of."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farsight.latency.features import FeatureMatrix


@dataclass(frozen=True, slots=True)
class Latency:
    """Quantiles of one endpoint, milliseconds."""

    ttft_q50_ms: float
    ttft_q90_ms: float
    tpot_q50_ms: float
    tpot_q90_ms: float


@dataclass(frozen=True, slots=True)
class OpenDecision:
    """One decision, as it was made, for the endpoints of its answer: the chosen one first."""

    decision_id: str
    request_id: str
    model: str
    base_model: str
    pool: str
    profile: str
    endpoint_ids: tuple[str, ...]
    accelerators: tuple[str, ...]
    matrix: FeatureMatrix
    quantiles_ms: npt.NDArray[np.float32]
    """Predictions, a row per endpoint, in the order of `Latency`."""
    cached_tokens: tuple[int, ...]
    indexed_tokens: tuple[int, ...]
    """Those of them that do not stand for prompts on their way."""
    confidence: tuple[int, ...]
    prompt_tokens: int
    bundle_version: int
    decision_ms: float
    decided_unix_ms: int

    def latency(self, row: int) -> Latency:
        """What was predicted for the endpoint of a row."""
        return Latency(*self.quantiles_ms[row].tolist())

    def position(self, endpoint_id: str) -> int | None:
        """Row of an endpoint, None when it is not in the answer."""
        try:
            return self.endpoint_ids.index(endpoint_id)
        except ValueError:
            return None
