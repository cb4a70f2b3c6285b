"""The learned residual: boosted trees on log(actual / analytic).

Trees cannot extrapolate, so they learn a ratio that stays near 1, and the analytic base carries the
scale. The ratio may only rise with load and work, which keeps a pod with more of either from ever
looking faster.
"""

from dataclasses import dataclass

import lightgbm
import numpy as np

from farsight.latency.analytic import Float64s
from farsight.latency.features import Feature, FeatureMatrix
from farsight.latency.fitted import MAX_LOG_RATIO

MIN_SAMPLES = 100
MIN_NEWEST = 10

TTFT_RISING = (
    Feature.UNCACHED_TOKENS,
    Feature.PREFILL_AHEAD_TOKENS,
    Feature.RUNNING_REQUESTS,
    Feature.WAITING_REQUESTS,
    Feature.KV_USAGE_RATIO,
)
TPOT_RISING = (
    Feature.RUNNING_REQUESTS,
    Feature.RESIDENT_TOKENS,
    Feature.PREFILL_AHEAD_TOKENS,
    Feature.KV_USAGE_RATIO,
)

_TREES = 100
_EARLY_STOP = 10
_PARAMETERS = {
    "objective": "huber",
    "alpha": 0.3,
    "metric": "huber",
    "learning_rate": 0.1,
    "max_depth": 4,
    "num_leaves": 15,
    "min_data_in_leaf": 20,
    "lambda_l2": 1.0,
    "monotone_constraints_method": "intermediate",
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "seed": 1,
    "verbosity": -1,
}


@dataclass(frozen=True, slots=True)
class Rows:
    """Clean feature rows and the log ratio of each, in time order."""

    features: FeatureMatrix
    log_ratio: Float64s

    @classmethod
    def of(cls, features: FeatureMatrix, actual_ms: Float64s, analytic_ms: Float64s) -> "Rows":
        """Log ratios within +-MAX_LOG_RATIO."""
        ratio = np.log(actual_ms) - np.log(analytic_ms)
        return cls(features, np.clip(ratio, -MAX_LOG_RATIO, MAX_LOG_RATIO))


def fit_residual(train: Rows, newest: Rows, rising: tuple[Feature, ...]) -> lightgbm.Booster | None:
    """Trees that stop growing when `newest` gets no better; None when there are too few samples."""
    if len(train.log_ratio) < MIN_SAMPLES or len(newest.log_ratio) < MIN_NEWEST:
        return None
    constraints = [int(feature in rising) for feature in Feature]
    parameters = _PARAMETERS | {"monotone_constraints": constraints}
    booster = lightgbm.train(
        parameters,
        _dataset(train),
        num_boost_round=_TREES,
        valid_sets=[_dataset(newest)],
        callbacks=[lightgbm.early_stopping(_EARLY_STOP, verbose=False)],
    )
    return booster


def _dataset(rows: Rows) -> lightgbm.Dataset:
    names = [feature.name.lower() for feature in Feature]
    return lightgbm.Dataset(
        np.ascontiguousarray(rows.features),
        np.ascontiguousarray(rows.log_ratio, dtype=np.float32),
        feature_name=names,
        free_raw_data=True,
    )
