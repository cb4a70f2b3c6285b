"""Samples into windows."""

from farsight.bus import Bus
from farsight.pb.events_pb2 import Sample
from services.trainer import metrics
from services.trainer.intake import BATCH, Intake
from services.trainer.settings import TrainerSettings
from tests.fakes.latency_samples import messages, samples


def encoded(count: int, model: str = "m", first: int = 0) -> list[bytes]:
    """Samples as they arrive."""
    return [m.SerializeToString() for m in messages(samples(count, seed=1), model, first)]


def intake(**changes: object) -> Intake:
    """An intake that no stream feeds."""
    return Intake(Bus("nats://127.0.0.1:1"), TrainerSettings.model_validate(changes))


async def test_a_full_batch_means_there_may_be_more() -> None:
    """While a long stream is read again nothing is caught up, until a batch is not full."""
    reading = intake()

    await reading.take(encoded(BATCH))
    after_full = reading.is_caught_up
    await reading.take(encoded(3, first=BATCH))

    assert not after_full
    assert reading.is_caught_up
    assert len(reading.windows["m"]) == BATCH + 3


async def test_models_are_bounded() -> None:
    """Samples of one model too many are refused; those of known ones are not."""
    reading = intake(max_models=2)
    before = metrics.refused.labels("too-many-models")._value.get()

    for model in ("a", "b", "c", "a"):
        await reading.take(encoded(2, model, first=10 * len(reading.windows)))

    assert sorted(reading.windows) == ["a", "b"]
    assert metrics.refused.labels("too-many-models")._value.get() == before + 2


async def test_cancelled_requests_are_counted_and_not_kept() -> None:
    """They appear under their outcome and leave no window."""
    reading = intake()
    (cancelled,) = messages(samples(1, seed=1), "m")
    cancelled.outcome = Sample.OUTCOME_CANCELLED
    before = metrics.samples.labels("cancelled")._value.get()

    await reading.take([cancelled.SerializeToString(), b"\xff"])

    assert not reading.windows
    assert metrics.samples.labels("cancelled")._value.get() == before + 1
