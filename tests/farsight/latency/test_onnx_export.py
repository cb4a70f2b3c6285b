"""LightGBM trees in ONNX."""

import lightgbm
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from farsight.latency.features import Feature
from farsight.latency.fitted import Residual
from farsight.latency.onnx_export import export, floor32
from farsight.latency.residual import Rows, fit_residual
from tests.fakes.latency_samples import requests


def fitted_trees() -> lightgbm.Booster:
    """Trees that use several features."""
    features = requests(3000, seed=1)
    ratio = np.sin(features[:, Feature.UNCACHED_TOKENS] / 700) + features[:, Feature.KV_USAGE_RATIO]
    rows = Rows(features, ratio.astype(np.float64))
    booster = fit_residual(rows, Rows(rows.features[:300], rows.log_ratio[:300]), ())
    assert booster is not None
    return booster


def test_onnx_answers_as_lightgbm_does() -> None:
    """10,000 rows in and out of the training range agree within 1e-3, in fact within float32."""
    booster = fitted_trees()
    rows = np.vstack([requests(9000, seed=2), requests(1000, seed=3, longest_prompt=1_000_000)])

    gap = np.abs(Residual(export(booster)).log_ratio(rows) - booster.predict(rows))

    assert gap.max() < 1e-5


def test_rows_on_a_threshold_take_the_same_branch() -> None:
    """Features equal to a threshold rounded to float32, or next to it, agree too."""
    booster = fitted_trees()
    thresholds = [
        (split["split_feature"], np.float32(split["threshold"]))
        for tree in booster.dump_model()["tree_info"]
        for split in splits(tree["tree_structure"])
    ]
    rows = np.repeat(requests(1, seed=4), 3 * len(thresholds), axis=0)
    for i, (feature, threshold) in enumerate(thresholds):
        below, above = np.nextafter(threshold, np.array([0, 1e30], np.float32))
        rows[3 * i : 3 * i + 3, feature] = (below, threshold, above)

    gap = np.abs(Residual(export(booster)).log_ratio(rows) - booster.predict(rows))

    assert gap.max() < 1e-5


def splits(node: dict) -> list[dict]:  # type: ignore[type-arg]
    """Every split of a tree."""
    if "split_feature" not in node:
        return []
    return [node, *splits(node["left_child"]), *splits(node["right_child"])]


@given(st.floats(-1e30, 1e30), st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_rounded_thresholds_keep_every_comparison(threshold: float, value: float) -> None:
    """`x <= t` and `x <= floor32(t)` are the same for every float32 x."""
    assert (value <= threshold) == (value <= floor32(threshold))


def test_no_trees_answer_zero() -> None:
    """A target without a residual exports a model that leaves the analytic value alone."""
    assert (Residual(export(None)).log_ratio(requests(10, seed=1)) == 0).all()
