"""What the trainer runs: every replica reads samples, the elected one fits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from farsight.discovery import TRAINER_ELECTION_KEY
from farsight.runtime import Runtime
from services.trainer.intake import Intake
from services.trainer.publisher import Publisher
from services.trainer.settings import TrainerSettings
from services.trainer.trainer import Trainer


@asynccontextmanager
async def build(settings: TrainerSettings, runtime: Runtime) -> AsyncIterator[None]:
    """Read the sample stream and stand for election."""
    intake = Intake(runtime.bus, settings)
    publisher = Publisher(runtime.etcd, runtime.bus, settings.keep_bundles)
    trainer = Trainer(intake, publisher, settings)
    runtime.readiness.set("samples", False, "the sample stream is not there yet")
    runtime.spawn("samples", intake.follow())
    runtime.spawn("readiness", _ready_when_reading(intake, runtime))
    runtime.spawn(
        "election",
        runtime.etcd.elect(
            TRAINER_ELECTION_KEY, settings.replica_id, settings.lease_ttl_s, trainer.lead
        ),
    )
    yield


async def _ready_when_reading(intake: Intake, runtime: Runtime) -> None:
    await intake.reading.wait()
    runtime.readiness.set("samples", True)
