"""Samples into one window per model."""

from collections.abc import Mapping

from farsight.log import get_logger
from services.trainer import metrics
from services.trainer.window import SampleWindow
from services.trainer.wire import BadSample, decode_sample

log = get_logger(__name__)


class SampleWindows:
    """Owns the windows.

    :param max_models: samples of further models are refused.
    :param window_samples: newest samples kept of each model.
    """

    def __init__(self, max_models: int, window_samples: int) -> None:
        self._max_models = max_models
        self._window_samples = window_samples
        self._windows: dict[str, SampleWindow] = {}

    @property
    def by_model(self) -> Mapping[str, SampleWindow]:
        """Window by model."""
        return self._windows

    def take(self, data: bytes) -> None:
        """Take in one encoded sample; a bad one is counted and left out."""
        try:
            self._take(data)
        except BadSample as error:
            metrics.refused.labels(error.kind).inc()
            log.debug("sample refused", extra={"reason": error.kind})

    def _take(self, data: bytes) -> None:
        sample = decode_sample(data)
        if sample.is_label:
            if sample.model not in self._windows:
                if len(self._windows) >= self._max_models:
                    raise BadSample("too-many-models")
                self._windows[sample.model] = SampleWindow(self._window_samples)
            if not self._windows[sample.model].add(sample):
                raise BadSample("known-or-old")
        metrics.samples.labels(sample.outcome).inc()
