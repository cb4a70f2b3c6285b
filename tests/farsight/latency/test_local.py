"""The predictor in process: the live bundle of a model, or none."""

import numpy as np

from farsight.latency.analytic import AnalyticRates, TpotRates, TtftRates
from farsight.latency.local import LocalPredictor
from farsight.latency.model import AnalyticModel
from farsight.latency.predictions import LatencyModel
from tests.fakes.latency_samples import TRUE_RATES, requests

ROWS = requests(20, seed=1)
OTHER_RATES = AnalyticRates(TtftRates(1.0, 0.5, 0.0, 0.0, 0.0, 0.0), TpotRates(2.0, 0.0, 0.0))


async def test_each_model_is_answered_by_its_own_bundle() -> None:
    """With the version that the bundle says."""
    one, two = AnalyticModel(TRUE_RATES, version=3), AnalyticModel(OTHER_RATES, version=5)
    predictor = LocalPredictor({"one": one, "two": two})

    for name, live in (("one", one), ("two", two)):
        answer = await predictor.predict(name, ROWS)

        assert answer is not None
        assert answer.bundle_version == live.version
        assert np.array_equal(answer.predictions.stack(), live.predict(ROWS).stack())


async def test_a_model_without_a_bundle_has_no_answer() -> None:
    """The caller knows better rates than a default."""
    predictor = LocalPredictor({"one": AnalyticModel(TRUE_RATES, version=3)})

    assert await predictor.predict("another", ROWS) is None


async def test_a_bundle_is_used_from_the_moment_when_it_is_put_there() -> None:
    """The mapping is looked at with every call."""
    models = dict[str, LatencyModel]()
    predictor = LocalPredictor(models)
    before = await predictor.predict("m", ROWS)

    models["m"] = AnalyticModel(TRUE_RATES, version=1)
    first = await predictor.predict("m", ROWS)
    models["m"] = AnalyticModel(OTHER_RATES, version=2)
    second = await predictor.predict("m", ROWS)

    assert before is None
    assert first is not None
    assert second is not None
    assert (first.bundle_version, second.bundle_version) == (1, 2)
    assert not np.array_equal(first.predictions.stack(), second.predictions.stack())
