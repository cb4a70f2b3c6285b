"""Whose fit is due, in a time that the test lets pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from farsight.errors import BusUnavailable
from farsight.latency.training_set import TrainingSet
from services.trainer import metrics
from services.trainer.challenge import Challenge
from services.trainer.publisher import Live
from services.trainer.settings import TrainerSettings
from services.trainer.trainer import Trainer
from services.trainer.window import SampleWindow
from services.trainer.windows import SampleWindows
from tests.fakes.latency_samples import messages, samples
from tests.services.router.given import Clock

SETTINGS = TrainerSettings.model_validate(
    {"min_samples": 200, "refit_samples": 100, "refit_interval_s": 30.0, "gate_tolerance": 1.0}
)


@dataclass
class Source:
    """Windows that the test fills."""

    filled: SampleWindows = field(default_factory=lambda: SampleWindows(8, 5000))
    is_caught_up: bool = True

    @property
    def windows(self) -> Mapping[str, SampleWindow]:
        """Window by model."""
        return self.filled.by_model


@dataclass
class Store:
    """Keeps who was published with how many samples; may be away."""

    published: list[tuple[str, int]] = field(default_factory=list)
    is_away: bool = False

    async def live(self, model: str) -> Live:
        """Nothing is live, so that every fit is better."""
        if self.is_away:
            raise BusUnavailable("away")
        return Live(None, 0, None)

    async def publish(
        self, model: str, live: Live, won: Challenge, samples: TrainingSet
    ) -> int | None:
        """Take note."""
        self.published.append((model, len(samples)))
        return len(self.published)


class Running:
    """A trainer with its clock."""

    def __init__(self) -> None:
        self.clock, self.source, self.store = Clock(), Source(), Store()
        self.trainer = Trainer(self.source, self.store, SETTINGS, self.clock)
        self._sent: dict[str, int] = {}

    async def check(self, model: str, fresh: int, passed_s: float = 0.0) -> int:
        """Samples come, time passes, the trainer looks; how many fits it made."""
        first = self._sent.get(model, 0)
        self._sent[model] = first + fresh
        for sample in messages(samples(fresh, seed=first), model, first):
            self.source.filled.take(sample.SerializeToString())
        self.clock.now_s += passed_s
        before = len(self.store.published)
        await self.trainer.refit_due()
        return len(self.store.published) - before


async def test_the_first_fit_waits_for_samples_and_for_no_time() -> None:
    """One too few is not enough, however long it takes."""
    running = Running()

    assert await running.check("m", 199, passed_s=1000) == 0
    assert await running.check("m", 1) == 1
    assert running.store.published == [("m", 200)]


async def test_the_next_fit_waits_for_time_and_for_samples() -> None:
    """Both; each alone is not enough, and both count from the fit before."""
    running = Running()
    await running.check("m", 250)

    assert await running.check("m", 150, passed_s=29.9) == 0
    assert await running.check("m", 0, passed_s=0.1) == 1
    assert await running.check("m", 99, passed_s=500) == 0
    assert await running.check("m", 1) == 1
    assert running.store.published[-1] == ("m", 500)


async def test_each_model_is_due_on_its_own() -> None:
    """One that has just been fitted keeps no other one waiting."""
    running = Running()
    await running.check("a", 200)

    assert await running.check("b", 200) == 1
    assert await running.check("a", 100, passed_s=30) == 1
    assert [model for model, _ in running.store.published] == ["a", "b", "a"]


async def test_nothing_is_fitted_while_the_stream_is_still_being_read() -> None:
    """A part of the samples would make a worse bundle than the live one."""
    running = Running()
    running.source.is_caught_up = False
    early = await running.check("m", 500)

    running.source.is_caught_up = True

    assert early == 0
    assert await running.check("m", 0) == 1


async def test_a_fit_that_could_not_be_published_is_tried_again_when_it_is_due() -> None:
    """Not with every look, and the trainer lives on."""
    running = Running()
    running.store.is_away = True
    unavailable = metrics.fits.labels("unavailable")
    before = unavailable._value.get()

    await running.check("m", 200)
    await running.check("m", 50, passed_s=1)
    running.store.is_away = False

    assert unavailable._value.get() == before + 1
    assert await running.check("m", 0, passed_s=28) == 0
    assert await running.check("m", 50, passed_s=1) == 1
