"""The analytic base: a roofline model of TTFT and TPOT with nine rates.

TTFT = ttft_base + prefill * (ahead + uncached) + attention * uncached * (cached + uncached / 2)
       + host_load * host + storage_load * storage + running * running_requests
TPOT = tpot_base + per_running * running_requests + per_context_token * resident

Both are linear in the rates: `ttft_terms` and `tpot_terms` are the design matrices that predicting
and fitting share.
"""

from dataclasses import astuple, dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from farsight.latency.features import Feature, FeatureMatrix

Float64s = npt.NDArray[np.float64]

FLOOR_MS = 0.01
CEILING_MS = 1e9
CEILING = 1e9


@dataclass(frozen=True, slots=True)
class TtftRates:
    """Rates of the time to first token, all >= 0, in the order of `ttft_terms`."""

    ttft_base_ms: float
    prefill_ms_per_token: float
    attention_ms_per_token_squared: float
    host_load_ms_per_token: float
    storage_load_ms_per_token: float
    running_ms_per_request: float


@dataclass(frozen=True, slots=True)
class TpotRates:
    """Rates of the time per output token, all >= 0, in the order of `tpot_terms`."""

    tpot_base_ms: float
    tpot_ms_per_running: float
    tpot_ms_per_context_token: float


@dataclass(frozen=True, slots=True)
class AnalyticRates:
    """All rates of one model on one kind of endpoint."""

    ttft: TtftRates
    tpot: TpotRates


def clean(matrix: FeatureMatrix) -> FeatureMatrix:
    """The matrix with NaN and negative values as 0, and huge ones as CEILING."""
    return np.fmin(np.fmax(matrix, np.float32(0)), np.float32(CEILING))


def ttft_terms(matrix: FeatureMatrix) -> Float64s:
    """(rows, 6) factors of the TTFT rates, from a clean matrix."""
    uncached = matrix[:, Feature.UNCACHED_TOKENS].astype(np.float64)
    cached = np.maximum(matrix[:, Feature.PROMPT_TOKENS] - uncached, 0)
    terms = np.empty((len(matrix), 6))
    terms[:, 0] = 1
    terms[:, 1] = uncached + matrix[:, Feature.PREFILL_AHEAD_TOKENS]
    terms[:, 2] = uncached * (cached + uncached / 2)
    terms[:, 3] = matrix[:, Feature.HOST_TOKENS]
    terms[:, 4] = matrix[:, Feature.STORAGE_TOKENS]
    terms[:, 5] = matrix[:, Feature.RUNNING_REQUESTS]
    return terms


def tpot_terms(matrix: FeatureMatrix) -> Float64s:
    """(rows, 3) factors of the TPOT rates, from a clean matrix."""
    terms = np.empty((len(matrix), 3))
    terms[:, 0] = 1
    terms[:, 1] = matrix[:, Feature.RUNNING_REQUESTS]
    terms[:, 2] = matrix[:, Feature.RESIDENT_TOKENS]
    return terms


@lru_cache(maxsize=256)
def _vector(rates: TtftRates | TpotRates) -> Float64s:
    return np.array(astuple(rates))


def ttft_ms(matrix: FeatureMatrix, rates: TtftRates) -> Float64s:
    """Analytic TTFT per row of a clean matrix, FLOOR_MS to CEILING_MS."""
    return _bounded(ttft_terms(matrix) @ _vector(rates))


def tpot_ms(matrix: FeatureMatrix, rates: TpotRates) -> Float64s:
    """Analytic TPOT per row of a clean matrix, FLOOR_MS to CEILING_MS."""
    return _bounded(tpot_terms(matrix) @ _vector(rates))


def _bounded(latency_ms: Float64s) -> Float64s:
    bounded: Float64s = np.fmin(np.fmax(latency_ms, FLOOR_MS), CEILING_MS)
    return bounded
