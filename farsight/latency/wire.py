"""The latency model's data in protobuf messages and bytes."""

from dataclasses import asdict

import numpy as np

from farsight.errors import InvalidField
from farsight.latency.analytic import AnalyticRates, TpotRates, TtftRates
from farsight.latency.features import (
    DTYPE,
    FEATURE_COUNT,
    ROW_BYTES,
    SCHEMA_HASH,
    FeatureMatrix,
)
from farsight.latency.predictions import Milliseconds, Predictions
from farsight.pb import types_pb2
from farsight.pb.predictor_pb2 import PredictReply, PredictRequest

MAX_RATE = 1e6


def rates_to_proto(rates: AnalyticRates) -> types_pb2.AnalyticRates:
    """Rates as their message."""
    return types_pb2.AnalyticRates(**asdict(rates.ttft), **asdict(rates.tpot))


def rates_from_proto(message: types_pb2.AnalyticRates) -> AnalyticRates:
    """Rates from their message.

    :raises InvalidField: a rate is not a number from 0 to MAX_RATE.
    """
    rates = AnalyticRates(
        TtftRates(**{name: getattr(message, name) for name in TtftRates.__slots__}),
        TpotRates(**{name: getattr(message, name) for name in TpotRates.__slots__}),
    )
    check_rates(rates)
    return rates


def check_rates(rates: AnalyticRates) -> None:
    """Refuse rates that no fit can have made.

    :raises InvalidField: a rate is not a number from 0 to MAX_RATE.
    """
    for name, value in {**asdict(rates.ttft), **asdict(rates.tpot)}.items():
        if not 0 <= value <= MAX_RATE:
            raise InvalidField(name, f"0 to {MAX_RATE:g}, not {value}")


def decode_matrix(data: bytes, rows: int, schema_hash: str, max_rows: int) -> FeatureMatrix:
    """The (rows, FEATURE_COUNT) matrix in a message, without a copy.

    :raises InvalidField: rows, length or schema disagree with ours.
    """
    if not 1 <= rows <= max_rows:
        raise InvalidField("rows", f"1 to {max_rows}, not {rows}")
    if schema_hash != SCHEMA_HASH:
        raise InvalidField("schema_hash", f"{SCHEMA_HASH}, not {schema_hash[:64]!r}")
    if len(data) != rows * ROW_BYTES:
        raise InvalidField("matrix", f"{rows * ROW_BYTES} bytes, not {len(data)}")
    return np.frombuffer(data, DTYPE).reshape(rows, FEATURE_COUNT)


def encode_request(model: str, matrix: FeatureMatrix) -> PredictRequest:
    """A Predict call for every row of a matrix."""
    return PredictRequest(
        model=model,
        schema_hash=SCHEMA_HASH,
        rows=len(matrix),
        matrix=matrix.astype(DTYPE, copy=False).tobytes(),
    )


def encode_reply(version: int, predictions: Predictions) -> PredictReply:
    """The answer to a Predict call."""
    return PredictReply(
        bundle_version=version,
        ttft_q50_ms=predictions.ttft_q50_ms.tobytes(),
        ttft_q90_ms=predictions.ttft_q90_ms.tobytes(),
        tpot_q50_ms=predictions.tpot_q50_ms.tobytes(),
        tpot_q90_ms=predictions.tpot_q90_ms.tobytes(),
    )


def decode_reply(reply: PredictReply, rows: int) -> Predictions:
    """The predictions in an answer.

    :raises InvalidField: a column has the wrong length or a value that is no latency.
    """
    return Predictions(
        _column(reply.ttft_q50_ms, rows, "ttft_q50_ms"),
        _column(reply.ttft_q90_ms, rows, "ttft_q90_ms"),
        _column(reply.tpot_q50_ms, rows, "tpot_q50_ms"),
        _column(reply.tpot_q90_ms, rows, "tpot_q90_ms"),
    )


def _column(data: bytes, rows: int, field: str) -> Milliseconds:
    if len(data) != rows * DTYPE.itemsize:
        raise InvalidField(field, f"{rows * DTYPE.itemsize} bytes, not {len(data)}")
    column = np.frombuffer(data, DTYPE)
    if not ((column > 0) & (column < np.inf)).all():
        raise InvalidField(field, "positive, finite milliseconds")
    return column
