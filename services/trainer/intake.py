"""Samples from the stream into one window per model.

The stream is the store: every start and every reconnect reads it again from its beginning, and the
windows drop what they know.
"""

import asyncio
import time
from collections.abc import Mapping

from farsight.bus import Bus
from farsight.errors import BusUnavailable
from farsight.log import get_logger
from farsight.samples import ensure_stream
from farsight.subjects import SAMPLE_STREAM
from services.trainer import metrics
from services.trainer.settings import TrainerSettings
from services.trainer.window import SampleWindow
from services.trainer.windows import SampleWindows

log = get_logger(__name__)

RETRY_S = 1.0
QUIET_S = 2.0
BATCH = 256
_SAMPLES_PER_TURN = 32  # keeps the event loop free while a long stream is read again


class Intake:
    """Reads the stream into the windows."""

    def __init__(self, bus: Bus, settings: TrainerSettings) -> None:
        self._bus = bus
        self._windows = SampleWindows(settings.max_models, settings.window_samples)
        self._full_batch_s = -QUIET_S
        self.reading = asyncio.Event()

    @property
    def windows(self) -> Mapping[str, SampleWindow]:
        """Window by model."""
        return self._windows.by_model

    @property
    def is_caught_up(self) -> bool:
        """The stream has been read to its end: the last batch was not full, or is QUIET_S ago."""
        return time.monotonic() - self._full_batch_s >= QUIET_S

    async def follow(self) -> None:
        """Read the stream, again after every break; never returns."""
        while True:
            try:
                await ensure_stream(self._bus)
                self.reading.set()
                await self._bus.consume(SAMPLE_STREAM, None, self.take, BATCH)
            except BusUnavailable as error:
                metrics.stream_breaks.inc()
                log.warning("sample stream is away", extra={"error": str(error)})
            await asyncio.sleep(RETRY_S)

    async def take(self, messages: list[bytes]) -> None:
        """Take in encoded samples; bad ones are counted and left out."""
        self._full_batch_s = time.monotonic() if len(messages) >= BATCH else -QUIET_S
        for start in range(0, len(messages), _SAMPLES_PER_TURN):
            for data in messages[start : start + _SAMPLES_PER_TURN]:
                self._windows.take(data)
            await asyncio.sleep(0)
        for model, window in self.windows.items():
            metrics.window_samples.labels(model).set(len(window))
