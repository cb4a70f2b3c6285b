"""A latency fit from samples: rates, then residuals, then calibration.

Samples are in time order and are never shuffled: the newest part stops the trees and calibrates.
"""

from dataclasses import replace

import lightgbm
import numpy as np

from farsight.latency import analytic
from farsight.latency.analytic import AnalyticRates, Float64s
from farsight.latency.conformal import UNCALIBRATED, Offsets, calibrate
from farsight.latency.features import Feature, FeatureMatrix
from farsight.latency.fit_rates import fit_rates
from farsight.latency.fitted import MAX_LOG_RATIO, FittedModel, LatencyFit, Residual, TargetFit
from farsight.latency.onnx_export import export
from farsight.latency.residual import TPOT_RISING, TTFT_RISING, Rows, fit_residual
from farsight.latency.training_set import TrainingSet

NEWEST_SHARE = 0.1
PARITY = 1e-3


def split_newest(samples: TrainingSet) -> tuple[TrainingSet, TrainingSet]:
    """Older samples, and the newest NEWEST_SHARE of them."""
    older = len(samples) - int(len(samples) * NEWEST_SHARE)
    return samples[:older], samples[older:]


def fit_latency(samples: TrainingSet, prior: AnalyticRates) -> LatencyFit:
    """Fit both targets; one with too few samples keeps a residual of 0.

    :raises ValueError: ONNX and LightGBM disagree by more than PARITY.
    """
    older, newest = split_newest(samples)
    rates = fit_rates(older, prior)
    ttft = _grow(_ttft_rows(older, rates), _ttft_rows(newest, rates), TTFT_RISING)
    tpot = _grow(_tpot_rows(older, rates), _tpot_rows(newest, rates), TPOT_RISING)
    fit = LatencyFit(rates, TargetFit(ttft, UNCALIBRATED), TargetFit(tpot, UNCALIBRATED))
    return calibrated(fit, newest)


def calibrated(fit: LatencyFit, samples: TrainingSet) -> LatencyFit:
    """The fit with offsets taken from samples that its trees were not grown on."""
    model = FittedModel(fit)
    rows = analytic.clean(samples.features)
    ttft = _offsets(samples.ttft_ms, model.ttft_points_ms(rows))
    tpot = _offsets(samples.tpot_ms, model.tpot_points_ms(rows))
    return LatencyFit(fit.rates, replace(fit.ttft, offsets=ttft), replace(fit.tpot, offsets=tpot))


def _offsets(actual_ms: Float64s, points_ms: Float64s) -> Offsets:
    known = actual_ms > 0
    return calibrate(np.log(actual_ms[known] / points_ms[known]))


def _ttft_rows(samples: TrainingSet, rates: AnalyticRates) -> Rows:
    rows = analytic.clean(samples.features[samples.has_ttft])
    return Rows.of(rows, samples.ttft_ms[samples.has_ttft], analytic.ttft_ms(rows, rates.ttft))


def _tpot_rows(samples: TrainingSet, rates: AnalyticRates) -> Rows:
    rows = analytic.clean(samples.features[samples.has_tpot])
    return Rows.of(rows, samples.tpot_ms[samples.has_tpot], analytic.tpot_ms(rows, rates.tpot))


def _grow(older: Rows, newest: Rows, rising: tuple[Feature, ...]) -> bytes:
    booster = fit_residual(older, newest, rising)
    model = export(booster)
    if booster is not None:
        _check_parity(booster, model, older.features)
    return model


def _check_parity(booster: lightgbm.Booster, model: bytes, rows: FeatureMatrix) -> None:
    ours = Residual(model).log_ratio(rows)
    theirs = np.clip(booster.predict(rows, num_threads=1), -MAX_LOG_RATIO, MAX_LOG_RATIO)
    if (gap := float(np.abs(ours - theirs).max())) > PARITY:
        raise ValueError(f"ONNX differs from LightGBM by {gap} in log space")
