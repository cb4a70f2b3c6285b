"""Sample messages, checked."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from farsight.errors import BadRecord
from farsight.latency.features import DTYPE, ROW_BYTES, SCHEMA_HASH
from farsight.latency.manifest import MAX_MODEL_NAME
from farsight.pb.events_pb2 import Sample

MAX_SAMPLE_BYTES = 16 * 1024
MAX_LATENCY_MS = 1e8
MAX_ID = 256


class Outcome(StrEnum):
    """How the request ended."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


_OUTCOMES = {
    Sample.OUTCOME_COMPLETED: Outcome.COMPLETED,
    Sample.OUTCOME_CANCELLED: Outcome.CANCELLED,
    Sample.OUTCOME_FAILED: Outcome.FAILED,
}


class BadSample(BadRecord):
    """A sample is refused; `kind` is a label of a counter."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"sample refused: {kind}")
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Observation:
    """One finished request."""

    decision_id: str
    model: str
    accelerator: str
    outcome: Outcome
    features: npt.NDArray[np.float32]
    """One row, as it was at the decision."""
    ttft_ms: float
    """Dispatch to first token; 0 when unknown."""
    tpot_ms: float
    """Per output token after the first; 0 when unknown."""
    decided_unix_ms: int

    @property
    def is_label(self) -> bool:
        """A fit may learn from it."""
        return self.outcome is Outcome.COMPLETED and (self.ttft_ms > 0 or self.tpot_ms > 0)


def decode_sample(data: bytes) -> Observation:
    """Parse and check a Sample message.

    :raises BadSample: `size`, `malformed`, `model`, `decision`, `schema`, `features`, `latency` or
        `outcome`.
    """
    if len(data) > MAX_SAMPLE_BYTES:
        raise BadSample("size")
    try:
        sample = Sample.FromString(data)
    except DecodeError as error:
        raise BadSample("malformed") from error
    _check_names(sample)
    outcome = _OUTCOMES.get(sample.outcome)
    if outcome is None:
        raise BadSample("outcome")
    if not all(_is_latency(ms) for ms in (sample.ttft_ms, sample.tpot_ms)):
        raise BadSample("latency")
    return Observation(
        decision_id=sample.decision_id,
        model=sample.model,
        accelerator=sample.accelerator,
        outcome=outcome,
        features=_features(sample),
        ttft_ms=sample.ttft_ms,
        tpot_ms=sample.tpot_ms,
        decided_unix_ms=sample.decided_unix_ms,
    )


def _check_names(sample: Sample) -> None:
    if not 1 <= len(sample.model) <= MAX_MODEL_NAME:
        raise BadSample("model")
    if not 1 <= len(sample.decision_id) <= MAX_ID or sample.decided_unix_ms <= 0:
        raise BadSample("decision")


def _features(sample: Sample) -> npt.NDArray[np.float32]:
    if sample.schema_hash != SCHEMA_HASH:
        raise BadSample("schema")
    if len(sample.features) != ROW_BYTES:
        raise BadSample("features")
    row = np.frombuffer(sample.features, DTYPE)
    if not ((row >= 0) & (row < np.inf)).all():
        raise BadSample("features")
    return row


def _is_latency(value_ms: float) -> bool:
    return math.isfinite(value_ms) and 0 <= value_ms <= MAX_LATENCY_MS
