"""Forecasts: the predictor, else the analytic model, revised for what changed meanwhile."""

import numpy as np
import pytest

from farsight import metrics as shared_metrics
from farsight.discovery import encode_record
from farsight.latency.features import Feature, FeatureMatrix
from farsight.latency.model import AnalyticModel
from farsight.latency.rates import rates_for
from farsight.latency.wire import rates_to_proto
from farsight.pb.records_pb2 import BundlePointer
from farsight.pb.types_pb2 import AnalyticRates
from services.router.forecast import Forecaster
from tests.services.router.given import MODEL, ScriptedPredictor, record, roster

ENGINES = roster(record("a"), record("b", accelerator="cpu"))


def matrix(uncached: float = 1000, ahead: tuple[float, float] = (0, 0)) -> FeatureMatrix:
    """Features of two endpoints."""
    made = np.zeros((2, len(Feature)), np.float32)
    made[:, Feature.PROMPT_TOKENS] = 1000
    made[:, Feature.UNCACHED_TOKENS] = uncached
    made[:, Feature.PREFILL_AHEAD_TOKENS] = ahead
    return made


def pointer(rates: AnalyticRates, model: str = MODEL) -> bytes:
    """A bundle pointer with rates."""
    return encode_record(
        BundlePointer(version=3, sha256="0" * 64, object_name="o", model=model, rates=rates)
    )


async def test_the_predictor_is_taken_at_its_word() -> None:
    """Its version and its quantiles."""
    forecaster = Forecaster(ScriptedPredictor(version=7))

    forecast = await forecaster.predict(ENGINES, matrix())

    assert (forecast.bundle_version, forecast.fallback) == (7, "")
    expected = AnalyticModel().predict(matrix()).stack()
    assert forecast.predictions.stack().tolist() == expected.tolist()
    assert forecaster.versions == {MODEL: 7}


@pytest.mark.parametrize("why", ["none", "timeout", "unavailable", "bad-reply", "breaker"])
async def test_without_the_predictor_the_analytic_model_answers_under_a_name(why: str) -> None:
    """Each row with the rates of its accelerator."""
    forecast = await Forecaster(ScriptedPredictor(away=why)).predict(ENGINES, matrix())

    assert (forecast.bundle_version, forecast.fallback) == (0, f"predictor-{why}")
    for row, accelerator in enumerate(["H100", "cpu"]):
        alone = AnalyticModel(rates_for(accelerator)).predict(matrix()).stack()[row]
        assert forecast.predictions.stack()[row].tolist() == alone.tolist()


async def test_before_any_bundle_each_accelerator_has_its_rates() -> None:
    """Version 0 from a predictor that is there is no fallback."""
    forecast = await Forecaster(ScriptedPredictor(version=0)).predict(ENGINES, matrix())

    fast, slow = forecast.predictions.ttft_q50_ms.tolist()
    assert forecast.fallback == ""
    assert fast < slow


async def test_fitted_rates_of_the_live_bundle_replace_the_table() -> None:
    """So that a router without a predictor is as good as the analytic part of the bundle."""
    forecaster = Forecaster(ScriptedPredictor(away="none"))
    rates = rates_to_proto(rates_for("H100"))
    rates.ttft_base_ms = 5000

    forecaster.update({"m": pointer(rates)})
    fitted = await forecaster.predict(ENGINES, matrix())
    forecaster.update({})
    table = await forecaster.predict(ENGINES, matrix())

    assert min(fitted.predictions.ttft_q50_ms.tolist()) > 5000
    assert table.predictions.ttft_q50_ms[0] < 5000


@pytest.mark.parametrize(
    "value",
    [b"{", pointer(AnalyticRates(ttft_base_ms=-1)), pointer(AnalyticRates(ttft_base_ms=1e9))],
    ids=["no record", "negative rate", "absurd rate"],
)
def test_a_bad_pointer_is_counted_and_left_out(value: bytes) -> None:
    """Others are taken."""
    forecaster = Forecaster(ScriptedPredictor())
    bad = shared_metrics.bad_records.labels("bundle-pointer")
    before = bad._value.get()
    good = rates_to_proto(rates_for("L4"))

    forecaster.update({"bad": value, "good": pointer(good, "other")})

    assert bad._value.get() == before + 1
    assert forecaster.rates("other", "H100") == rates_for("L4")
    assert forecaster.rates(MODEL, "H100") == rates_for("H100")


def test_the_prefill_rate_is_a_column() -> None:
    """By accelerator, until a bundle has fitted rates."""
    column = Forecaster(ScriptedPredictor()).prefill_ms_per_token(ENGINES)

    assert column.tolist() == [rates_for(a).ttft.prefill_ms_per_token for a in ("H100", "cpu")]


async def test_nothing_changed_means_nothing_revised() -> None:
    """The age of a load report always changes, and says nothing about the load."""
    forecaster = Forecaster(ScriptedPredictor())
    forecast = await forecaster.predict(ENGINES, matrix())
    later = matrix()
    later[:, Feature.LOAD_AGE_MS] = 50

    assert forecaster.revise(forecast, ENGINES, later) is forecast


async def test_load_that_was_reserved_meanwhile_scales_the_forecast() -> None:
    """By the factor that the analytic model gives; the row of the sample is the new one."""
    forecaster = Forecaster(ScriptedPredictor(version=7))
    forecast = await forecaster.predict(ENGINES, matrix())
    later = matrix(ahead=(5000, 0))

    revised = forecaster.revise(forecast, ENGINES, later)

    before = AnalyticModel(rates_for("H100")).predict(matrix()).ttft_q50_ms[0]
    after = AnalyticModel(rates_for("H100")).predict(later).ttft_q50_ms[0]
    old, new = forecast.predictions, revised.predictions
    assert new.ttft_q50_ms[0] / old.ttft_q50_ms[0] == pytest.approx(after / before)
    assert new.ttft_q90_ms[0] / old.ttft_q90_ms[0] == pytest.approx(after / before)
    assert new.stack()[1].tolist() == old.stack()[1].tolist()
    assert revised.matrix is later
    assert revised.bundle_version == 7
