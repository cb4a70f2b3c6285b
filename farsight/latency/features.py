"""The feature schema: one row per candidate endpoint, float32, in the order of `Feature`.

Router, predictor, trainer and simulator all build and read rows through this module; SCHEMA_HASH
travels with every row so that a reader of another schema refuses it.
"""

import hashlib
from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
import numpy.typing as npt

FeatureMatrix = npt.NDArray[np.float32]
Column = npt.NDArray[np.number] | float
DTYPE = np.dtype("<f4")


class Feature(IntEnum):
    """Column of the matrix, with its unit."""

    unit: str

    def __new__(cls, index: int, unit: str) -> "Feature":
        member = int.__new__(cls, index)
        member._value_ = index
        member.unit = unit
        return member

    PROMPT_TOKENS = 0, "tokens"
    UNCACHED_TOKENS = 1, "tokens"
    HOST_TOKENS = 2, "tokens"
    STORAGE_TOKENS = 3, "tokens"
    PREFILL_AHEAD_TOKENS = 4, "tokens"
    RUNNING_REQUESTS = 5, "requests"
    RESIDENT_TOKENS = 6, "tokens"
    WAITING_REQUESTS = 7, "requests"
    KV_USAGE_RATIO = 8, "ratio"
    LOAD_AGE_MS = 9, "ms"
    EXPECTED_OUTPUT_TOKENS = 10, "tokens"
    BLOCK_SIZE_TOKENS = 11, "tokens"


FEATURE_COUNT = len(Feature)
ROW_BYTES = FEATURE_COUNT * DTYPE.itemsize


def _schema_hash() -> str:
    text = "\n".join(f"{f.value} {f.name.lower()} {f.unit} float32" for f in Feature)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


SCHEMA_HASH = _schema_hash()


@dataclass(frozen=True, slots=True)
class FeatureColumns:
    """What is known of each candidate at the decision; a number stands for all rows."""

    prompt_tokens: Column
    """The request's prompt."""
    uncached_tokens: Column
    """Part of the prompt that the endpoint must compute."""
    host_tokens: Column
    """Cached prefix to be loaded from host memory."""
    storage_tokens: Column
    """Cached prefix to be loaded from shared storage."""
    prefill_ahead_tokens: Column
    """Uncached tokens in flight on the endpoint, over all routers, without this request."""
    running_requests: Column
    """Requests that are decoding now."""
    resident_tokens: Column
    """Context tokens of the requests in flight."""
    waiting_requests: Column
    """Requests in the engine's queue."""
    kv_usage_ratio: Column
    """Share of the device KV cache in use, 0 to 1."""
    load_age_ms: Column
    """Age of the engine's load report."""
    expected_output_tokens: Column
    """Output length that the router expects."""
    block_size_tokens: Column
    """The engine's KV block."""

    def matrix(self, rows: int) -> FeatureMatrix:
        """The columns as one (rows, FEATURE_COUNT) matrix."""
        filled = np.empty((rows, FEATURE_COUNT), DTYPE)
        for feature, column in zip(Feature, fields(self), strict=True):
            filled[:, feature] = getattr(self, column.name)
        return filled


if [column.name for column in fields(FeatureColumns)] != [f.name.lower() for f in Feature]:
    raise TypeError("FeatureColumns and Feature disagree")
