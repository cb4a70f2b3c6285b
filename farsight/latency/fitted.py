"""A fit, and the model that evaluates it with ONNX Runtime."""

from dataclasses import dataclass

import numpy as np
import onnxruntime

from farsight.latency import analytic
from farsight.latency.analytic import AnalyticRates, Float64s
from farsight.latency.conformal import Offsets
from farsight.latency.features import FEATURE_COUNT, FeatureMatrix
from farsight.latency.predictions import Milliseconds, Predictions

INPUT_NAME = "features"
OUTPUT_NAME = "log_ratio"
MAX_LOG_RATIO = float(np.log(8.0))


@dataclass(frozen=True, slots=True)
class TargetFit:
    """Residual and calibration of TTFT or TPOT."""

    onnx: bytes
    offsets: Offsets


@dataclass(frozen=True, slots=True)
class LatencyFit:
    """Everything that predicting needs."""

    rates: AnalyticRates
    ttft: TargetFit
    tpot: TargetFit


class Residual:
    """One ONNX session: clean rows in, log ratios out."""

    def __init__(self, model: bytes) -> None:
        """Load a model.

        :raises ValueError: it does not load, or its input or output has another name or shape.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise ValueError(f"ONNX Runtime refuses the model: {error}") from error
        inputs = [(i.name, i.type, i.shape[1:]) for i in self._session.get_inputs()]
        outputs = [(o.name, o.type, o.shape[1:]) for o in self._session.get_outputs()]
        if inputs != [(INPUT_NAME, "tensor(float)", [FEATURE_COUNT])]:
            raise ValueError(f"inputs {inputs}")
        if outputs != [(OUTPUT_NAME, "tensor(float)", [1])]:
            raise ValueError(f"outputs {outputs}")

    def log_ratio(self, rows: FeatureMatrix) -> Float64s:
        """log(latency / analytic) per clean row, within +-MAX_LOG_RATIO."""
        answer = self._session.run([OUTPUT_NAME], {INPUT_NAME: rows})[0][:, 0]
        bounded: Float64s = np.clip(answer.astype(np.float64), -MAX_LOG_RATIO, MAX_LOG_RATIO)
        return bounded


class FittedModel:
    """analytic * exp(residual + offset)."""

    def __init__(self, fit: LatencyFit, version: int = 0) -> None:
        """Make a fit ready to predict.

        :raises ValueError: an ONNX model is refused.
        """
        self.fit = fit
        self.version = version
        self._ttft = Residual(fit.ttft.onnx)
        self._tpot = Residual(fit.tpot.onnx)

    def ttft_points_ms(self, rows: FeatureMatrix) -> Float64s:
        """TTFT of clean rows before calibration, milliseconds."""
        ratio = np.exp(self._ttft.log_ratio(rows))
        return analytic.ttft_ms(rows, self.fit.rates.ttft) * ratio

    def tpot_points_ms(self, rows: FeatureMatrix) -> Float64s:
        """TPOT of clean rows before calibration, milliseconds."""
        ratio = np.exp(self._tpot.log_ratio(rows))
        return analytic.tpot_ms(rows, self.fit.rates.tpot) * ratio

    def predict(self, matrix: FeatureMatrix) -> Predictions:
        """One prediction per row of a (rows, FEATURE_COUNT) matrix."""
        rows = analytic.clean(matrix)
        ttft_ms, tpot_ms = self.ttft_points_ms(rows), self.tpot_points_ms(rows)
        ttft, tpot = self.fit.ttft.offsets, self.fit.tpot.offsets
        return Predictions(
            _shifted(ttft_ms, ttft.q50),
            _shifted(ttft_ms, ttft.q90),
            _shifted(tpot_ms, tpot.q50),
            _shifted(tpot_ms, tpot.q90),
        )


def _shifted(points_ms: Float64s, offset: float) -> Milliseconds:
    shifted: Milliseconds = (points_ms * np.exp(offset)).astype(np.float32)
    return shifted
