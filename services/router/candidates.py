"""What a decision sees: the request and one frozen column per fact about the candidates."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from farsight.latency.predictions import Predictions

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RequestView:
    """The request as plugins see it."""

    prompt_tokens: int
    expected_output_tokens: float
    slo_ttft_ms: float | None
    slo_tpot_ms: float | None
    priority: int
    session_id: str
    """Conversation, user or agent; empty when the client named none."""
    decision_number: int
    """Rises by one with each decision of this replica."""
    draw: float
    """Uniform in [0, 1), drawn once for this decision."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Columns over the endpoints that serve the model; all arrays have the same length."""

    endpoint_ids: tuple[str, ...]
    block_size_tokens: Floats
    device_tokens: Floats
    """Cached prefix on the device."""
    host_tokens: Floats
    """Further cached prefix in host memory."""
    storage_tokens: Floats
    """Further cached prefix on shared storage."""
    cached_tokens: Floats
    """What the engine will take from its caches: whole engine blocks, never the last token."""
    speculative_tokens: Floats
    """Those of `cached_tokens` for which only prompts on their way stand."""
    uncached_tokens: Floats
    confidence: npt.NDArray[np.uint8]
    """Values of `farsight.index.match.Confidence`."""
    index_age_ms: Floats
    load_age_ms: Floats
    """Age of the engine's load report; infinite when there is none."""
    waiting_requests: Floats
    """In the engine's queue, as it reported."""
    running_requests: Floats
    """In the engine's batch, as it reported."""
    kv_usage_ratio: Floats
    in_flight_requests: Floats
    """Reserved over all router replicas."""
    in_flight_decoding: Floats
    """Those of them that are past their first token."""
    in_flight_prefill_tokens: Floats
    """Uncached prompt tokens whose first token has not come, over all router replicas."""
    in_flight_context_tokens: Floats
    """Prompt and expected output of what is in flight, over all router replicas."""
    inhibited: Mask
    """Failed lately."""
    prefill_ms_per_token: Floats
    ttft_q50_ms: Floats
    ttft_q90_ms: Floats
    tpot_q50_ms: Floats
    tpot_q90_ms: Floats

    def __len__(self) -> int:
        return len(self.endpoint_ids)

    @property
    def decoding(self) -> Floats:
        """Requests that decode now: reserved ones, or the engine's when it has more."""
        reported = np.where(np.isfinite(self.load_age_ms), self.running_requests, 0)
        return np.maximum(self.in_flight_decoding, reported)

    def subset(self, positions: npt.NDArray[np.intp]) -> "Candidates":
        """The candidates at the given positions."""
        if positions.size == len(self):
            return self
        columns: dict[str, Any] = {}
        for column in fields(self):
            value = getattr(self, column.name)
            if isinstance(value, tuple):
                columns[column.name] = tuple(value[i] for i in positions)
            else:
                columns[column.name] = value[positions]
        return Candidates(**columns)

    def predicted(self, predictions: Predictions) -> "Candidates":
        """The same with latency predictions filled in."""
        return replace(
            self,
            ttft_q50_ms=predictions.ttft_q50_ms.astype(np.float64),
            ttft_q90_ms=predictions.ttft_q90_ms.astype(np.float64),
            tpot_q50_ms=predictions.tpot_q50_ms.astype(np.float64),
            tpot_q90_ms=predictions.tpot_q90_ms.astype(np.float64),
        )
