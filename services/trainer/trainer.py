"""The leader's loop: whose fit is due, fit, gate, publish."""

import asyncio
import time
from dataclasses import dataclass

from farsight.errors import BusUnavailable, EtcdUnavailable
from farsight.latency.model import AnalyticModel
from farsight.latency.rates import rates_for
from farsight.latency.scores import Scores
from farsight.log import get_logger
from services.trainer import metrics
from services.trainer.challenge import challenge
from services.trainer.intake import Intake
from services.trainer.publisher import Publisher
from services.trainer.settings import TrainerSettings
from services.trainer.window import SampleWindow

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _LastFit:
    added: int
    at_s: float


class Trainer:
    """Refits each model while this replica leads."""

    def __init__(self, intake: Intake, publisher: Publisher, settings: TrainerSettings) -> None:
        self._intake = intake
        self._publisher = publisher
        self._settings = settings
        self._last: dict[str, _LastFit] = {}

    async def lead(self) -> None:
        """Fit what is due; runs until it is cancelled."""
        log.info("leading")
        metrics.leading.set(1)
        try:
            while True:
                for model, window in list(self._intake.windows.items()):
                    if self._intake.is_caught_up and self._is_due(model, window):
                        await self._refit(model, window)
                await asyncio.sleep(self._settings.check_interval_s)
        finally:
            metrics.leading.set(0)

    def _is_due(self, model: str, window: SampleWindow) -> bool:
        last = self._last.get(model)
        if last is None:
            return len(window) >= self._settings.min_samples
        is_old = time.monotonic() - last.at_s >= self._settings.refit_interval_s
        return is_old and window.added - last.added >= self._settings.refit_samples

    async def _refit(self, model: str, window: SampleWindow) -> None:
        """One fit, counted by its result; nothing that can go wrong in it ends the trainer."""
        self._last[model] = _LastFit(window.added, time.monotonic())
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
