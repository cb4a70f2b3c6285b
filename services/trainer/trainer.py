"""The leader's loop: whose fit is due, fit, gate, publish."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from farsight.errors import BusUnavailable, EtcdUnavailable
from farsight.latency.model import AnalyticModel
from farsight.latency.rates import rates_for
from farsight.latency.scores import Scores
from farsight.latency.training_set import TrainingSet
from farsight.log import get_logger
from services.trainer import metrics
from services.trainer.challenge import Challenge, challenge
from services.trainer.publisher import Live
from services.trainer.settings import TrainerSettings
from services.trainer.window import SampleWindow

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _LastFit:
    added: int
    at_s: float


class SampleSource(Protocol):
    """Windows of samples by model."""

    @property
    def windows(self) -> Mapping[str, SampleWindow]:
        """Window by model."""
        ...

    @property
    def is_caught_up(self) -> bool:
        """The windows hold what has been sent."""
        ...


class BundleStore(Protocol):
    """Where the live bundle of each model is read and replaced."""

    async def live(self, model: str) -> Live:
        """The live bundle of a model."""
        ...

    async def publish(
        self, model: str, live: Live, won: Challenge, samples: TrainingSet
    ) -> int | None:
        """Make a won challenge live after `live`; None when that is live no more."""
        ...


class Trainer:
    """Refits each model while this replica leads."""

    def __init__(
        self,
        intake: SampleSource,
        publisher: BundleStore,
        settings: TrainerSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._intake = intake
        self._publisher = publisher
        self._settings = settings
        self._clock = clock
        self._last: dict[str, _LastFit] = {}

    async def lead(self) -> None:
        """Fit what is due; runs until it is cancelled."""
        log.info("leading")
        metrics.leading.set(1)
        try:
            while True:
                await self.refit_due()
                await asyncio.sleep(self._settings.check_interval_s)
        finally:
            metrics.leading.set(0)

    async def refit_due(self) -> None:
        """Fit the models that have enough new samples, one after the other."""
        for model, window in list(self._intake.windows.items()):
            if self._intake.is_caught_up and self._is_due(model, window):
                await self._refit(model, window)

    def _is_due(self, model: str, window: SampleWindow) -> bool:
        last = self._last.get(model)
        if last is None:
            return len(window) >= self._settings.min_samples
        is_old = self._clock() - last.at_s >= self._settings.refit_interval_s
        return is_old and window.added - last.added >= self._settings.refit_samples

    async def _refit(self, model: str, window: SampleWindow) -> None:
        """One fit, counted by its result; nothing that can go wrong in it ends the trainer."""
        self._last[model] = _LastFit(window.added, self._clock())
        try:
            result = await self._fit_and_publish(model, window)
        except (BusUnavailable, EtcdUnavailable) as error:
            result = "unavailable"
            log.warning("bundle not published", extra={"model": model, "error": str(error)})
        except Exception:  # a model whose samples break its fit must not stop the others
            result = "failed"
            log.exception("fit failed", extra={"model": model})
        metrics.fits.labels(result).inc()

    async def _fit_and_publish(self, model: str, window: SampleWindow) -> str:
        samples, prior = window.training_set(), rates_for(window.accelerator)
        live = await self._publisher.live(model)
        champion = live.bundle or AnalyticModel(prior)
        with metrics.fit_seconds.time():
            outcome = await asyncio.to_thread(
                challenge, samples, prior, champion, self._settings.gate_tolerance
            )
        _show(model, "challenger", outcome.challenger)
        _show(model, "champion", outcome.champion)
        if not outcome.is_won:
            return "kept"
        version = await self._publisher.publish(model, live, outcome, samples)
        if version is None:
            return "raced"
        metrics.bundle_version.labels(model).set(version)
        log.info("bundle published", extra={"model": model, "version": version})
        return "published"


def _show(model: str, contender: str, scores: Scores) -> None:
    metrics.holdout_loss.labels(model, "ttft", contender).set(scores.ttft.pinball)
    metrics.holdout_loss.labels(model, "tpot", contender).set(scores.tpot.pinball)
