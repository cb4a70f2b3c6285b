"""The trainer in the loop: the service's own, with its bundles kept in memory."""

from collections.abc import Mapping

from farsight import discovery
from farsight.latency.bundle import LoadedBundle
from farsight.latency.predictions import LatencyModel
from farsight.latency.training_set import TrainingSet
from farsight.pb.events_pb2 import Sample
from services.trainer.challenge import Challenge
from services.trainer.publisher import Live, make_bundle, pointer_to
from services.trainer.settings import TrainerSettings
from services.trainer.trainer import Trainer
from services.trainer.window import SampleWindow
from services.trainer.windows import SampleWindows
from sim.clock import VirtualClock


class BundlesInMemory:
    """The live bundle of each model, and the pointers that routers read their rates from."""

    def __init__(self) -> None:
        self.models: dict[str, LatencyModel] = {}
        self.pointers: dict[str, bytes] = {}
        self._live: dict[str, LoadedBundle] = {}

    async def live(self, model: str) -> Live:
        """The live bundle of a model."""
        bundle = self._live.get(model)
        version = 0 if bundle is None else bundle.version
        return Live(self.pointers.get(model), version, bundle)

    async def publish(
        self, model: str, live: Live, won: Challenge, samples: TrainingSet
    ) -> int | None:
        """Pack, load and swap, as trainer and predictor do between them."""
        version = live.version + 1
        _, loaded = make_bundle(model, version, won, samples)
        self._live[model] = loaded
        self.models[model] = loaded
        self.pointers[model] = discovery.encode_record(pointer_to(loaded, f"{model}.{version}"))
        return version


class TrainingLoop:
    """Takes samples and refits at the service's own intervals of virtual time."""

    def __init__(self, clock: VirtualClock, is_on: bool) -> None:
        settings = TrainerSettings.model_construct()
        self.check_interval_s = settings.check_interval_s
        self.is_on = is_on
        self.bundles = BundlesInMemory()
        self._windows = SampleWindows(settings.max_models, settings.window_samples)
        self._trainer = Trainer(self, self.bundles, settings, clock)

    @property
    def windows(self) -> Mapping[str, SampleWindow]:
        """Window by model."""
        return self._windows.by_model

    @property
    def is_caught_up(self) -> bool:
        """Samples arrive at once."""
        return True

    def send(self, sample: Sample) -> None:
        """Take one sample of a router."""
        if self.is_on:
            self._windows.take(sample.SerializeToString())

    async def refit_due(self) -> None:
        """What the leading trainer does at each check."""
        await self._trainer.refit_due()
