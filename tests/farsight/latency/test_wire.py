"""Latency data in messages."""

from dataclasses import replace

import numpy as np
import pytest

from farsight.errors import InvalidField
from farsight.latency import wire
from farsight.latency.features import SCHEMA_HASH
from farsight.latency.model import AnalyticModel
from farsight.latency.rates import DEFAULT_RATES
from tests.fakes.latency_samples import requests


def test_a_matrix_travels_unchanged() -> None:
    """What is encoded is decoded, without a copy."""
    matrix = requests(100, seed=1)
    request = wire.encode_request("m", matrix)

    decoded = wire.decode_matrix(request.matrix, request.rows, request.schema_hash, 100)

    assert np.array_equal(decoded, matrix)
    assert decoded.base is not None


@pytest.mark.parametrize(
    ("field", "data", "rows", "schema"),
    [
        ("rows", b"", 0, SCHEMA_HASH),
        ("rows", b"", 11, SCHEMA_HASH),
        ("schema_hash", b"", 1, "other"),
        ("matrix", bytes(47), 1, SCHEMA_HASH),
        ("matrix", bytes(96), 1, SCHEMA_HASH),
    ],
)
def test_a_bad_matrix_names_its_field(field: str, data: bytes, rows: int, schema: str) -> None:
    """Rows, schema and length are checked."""
    with pytest.raises(InvalidField) as error:
        wire.decode_matrix(data, rows, schema, max_rows=10)

    assert error.value.field == field


def test_predictions_travel_unchanged() -> None:
    """All four columns come back."""
    predictions = AnalyticModel().predict(requests(20, seed=1))

    reply = wire.encode_reply(5, predictions)

    assert reply.bundle_version == 5
    assert np.array_equal(wire.decode_reply(reply, 20).stack(), predictions.stack())


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0])
def test_replies_that_are_no_latency_are_refused(value: float) -> None:
    """A predictor gone wrong does not reach a decision."""
    reply = wire.encode_reply(0, AnalyticModel().predict(requests(2, seed=1)))
    reply.ttft_q90_ms = np.array([1.0, value], np.float32).tobytes()

    with pytest.raises(InvalidField):
        wire.decode_reply(reply, 2)
    with pytest.raises(InvalidField):
        wire.decode_reply(reply, 3)


def test_rates_travel_unchanged() -> None:
    """Every rate has a field of its own name."""
    assert wire.rates_from_proto(wire.rates_to_proto(DEFAULT_RATES)) == DEFAULT_RATES


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf, 1e9])
def test_impossible_rates_are_refused(value: float) -> None:
    """A rate is a number from 0 to MAX_RATE."""
    bad = replace(DEFAULT_RATES, tpot=replace(DEFAULT_RATES.tpot, tpot_base_ms=value))

    with pytest.raises(InvalidField, match="tpot_base_ms"):
        wire.rates_from_proto(wire.rates_to_proto(bad))
