"""The embedded twin of the predictor client: bundles in the process that asks."""

from collections.abc import Mapping

from farsight.latency.features import FeatureMatrix
from farsight.latency.model import AnalyticModel
from farsight.latency.predictions import LatencyModel
from farsight.latency.remote import Answer


class LocalPredictor:
    """Answers from a live model per name; the mapping's owner replaces its values."""

    def __init__(self, models: Mapping[str, LatencyModel]) -> None:
        self._models = models
        self._analytic = AnalyticModel()

    async def predict(self, model: str, matrix: FeatureMatrix) -> Answer:
        """One prediction per row."""
        live = self._models.get(model, self._analytic)
        return Answer(live.version, live.predict(matrix))
