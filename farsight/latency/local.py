"""The embedded twin of the predictor client: bundles in the process that asks."""

from collections.abc import Mapping

from farsight.latency.features import FeatureMatrix
from farsight.latency.predictions import LatencyModel
from farsight.latency.remote import Answer


class LocalPredictor:
    """Answers from a live model per name; the mapping's owner replaces its values."""

    def __init__(self, models: Mapping[str, LatencyModel]) -> None:
        self._models = models

    async def predict(self, model: str, matrix: FeatureMatrix) -> Answer | None:
        """One prediction per row; None when the model has no bundle."""
        live = self._models.get(model)
        return None if live is None else Answer(live.version, live.predict(matrix))
