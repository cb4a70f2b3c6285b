"""The feature schema."""

import subprocess
import sys

import numpy as np

from farsight.latency.features import DTYPE, FEATURE_COUNT, SCHEMA_HASH, Feature
from tests.fakes.latency_samples import requests


def test_the_schema_is_this_one() -> None:
    """A change of name, unit, type or order changes the hash, and this test with it."""
    assert SCHEMA_HASH == "8360b15574c88819"


def test_columns_land_where_the_enum_says() -> None:
    """A row holds each value in the column of its feature, scalars in every row."""
    matrix = requests(50, seed=1)

    assert matrix.shape == (50, FEATURE_COUNT)
    assert matrix.dtype == DTYPE
    assert (matrix[:, Feature.EXPECTED_OUTPUT_TOKENS] == 256).all()
    assert (matrix[:, Feature.UNCACHED_TOKENS] <= matrix[:, Feature.PROMPT_TOKENS]).all()
    assert matrix[:, Feature.KV_USAGE_RATIO].max() <= 1


def test_predicting_loads_no_fitting_library() -> None:
    """A process that only predicts imports neither LightGBM, SciPy nor onnx."""
    probe = (
        "import sys, farsight.latency.bundle, farsight.latency.wire, farsight.latency.model;"
        "sys.exit(any(name in sys.modules for name in ('lightgbm', 'scipy', 'onnx')))"
    )

    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


def test_every_feature_has_a_unit() -> None:
    """Units come from a closed list."""
    assert {feature.unit for feature in Feature} == {"tokens", "requests", "ratio", "ms"}
    assert np.array_equal([int(f) for f in Feature], np.arange(FEATURE_COUNT))
