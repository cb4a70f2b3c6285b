"""From samples to live bundles: trainer and predictor with real etcd and NATS, in one process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from farsight.bus import Bus
from farsight.discovery import TRAINER_ELECTION_KEY, bundle_key, decode_bundle_pointer
from farsight.etcd import Etcd
from farsight.latency.model import AnalyticModel
from farsight.latency.rates import DEFAULT_RATES
from farsight.pb.events_pb2 import Sample
from farsight.subjects import BUNDLE_BUCKET, sample
from services.predictor.bundles import Bundles
from services.predictor.settings import PredictorSettings
from services.trainer import metrics
from services.trainer.challenge import challenge
from services.trainer.intake import Intake
from services.trainer.publisher import Publisher
from services.trainer.settings import TrainerSettings
from services.trainer.trainer import Trainer
from tests.fakes.latency_samples import messages, requests, samples
from tests.waiting import eventually

MODEL = "org/model-8b"
ROWS = requests(50, seed=1)


def settings(**changes: object) -> TrainerSettings:
    """A trainer in a hurry."""
    values: dict[str, object] = {
        "min_samples": 200,
        "refit_samples": 100,
        "refit_interval_s": 0.0,
        "check_interval_s": 0.05,
        "gate_tolerance": 1.0,
        "lease_ttl_s": 2,
    }
    return TrainerSettings.model_validate(values | changes)


class Replica:
    """One trainer replica in this process."""

    def __init__(self, etcd: Etcd, bus: Bus, name: str, chosen: TrainerSettings) -> None:
        self.name = name
        self.intake = Intake(bus, chosen)
        self._etcd = etcd
        self._chosen = chosen
        publisher = Publisher(etcd, bus, chosen.keep_bundles)
        self._trainer = Trainer(self.intake, publisher, chosen)

    async def run(self) -> None:
        """Read samples and stand for election."""
        ttl_s = self._chosen.lease_ttl_s
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.intake.follow())
            tasks.create_task(
                self._etcd.elect(TRAINER_ELECTION_KEY, self.name, ttl_s, self._trainer.lead)
            )


@asynccontextmanager
async def running(replica: Replica) -> AsyncIterator[Replica]:
    """A replica that runs until the block ends."""
    task = asyncio.create_task(replica.run())
    await asyncio.wait_for(replica.intake.reading.wait(), 10)
    yield replica
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@asynccontextmanager
async def predictor(etcd: Etcd, bus: Bus) -> AsyncIterator[Bundles]:
    """A predictor's bundles, following etcd."""
    bundles = Bundles(etcd, bus, PredictorSettings.model_validate({"retry_min_s": 0.05}))
    tasks = [asyncio.create_task(bundles.watch()), asyncio.create_task(bundles.follow())]
    yield bundles
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def send(bus: Bus, sent: list[Sample]) -> None:
    """Publish samples as a router does."""
    for message in sent:
        await bus.publish_durable(
            sample(message.model), message.SerializeToString(), message.decision_id
        )


async def live_version(etcd: Etcd) -> int:
    """Version of the pointer in etcd, 0 without one."""
    record = await etcd.get(bundle_key(MODEL))
    return 0 if record is None else decode_bundle_pointer(record).version


async def until_version(etcd: Etcd, version: int) -> None:
    """Wait for a pointer of at least that version."""
    async with asyncio.timeout(12):
        while await live_version(etcd) < version:  # noqa: ASYNC110 # etcd is another process
            await asyncio.sleep(0.05)


async def test_samples_become_bundles_that_predictors_use(etcd: Etcd, bus: Bus) -> None:
    """The first samples make version 1, more make version 2, and no prediction fails meanwhile."""
    async with predictor(etcd, bus) as bundles, running(Replica(etcd, bus, "t1", settings())):
        versions: list[int] = []

        def version() -> int:
            model = bundles.model(MODEL)
            assert (model.predict(ROWS).stack() > 0).all()
            versions.append(model.version)
            return model.version

        assert version() == 0
        await send(bus, messages(samples(220, seed=1), MODEL))
        await eventually(lambda: version() == 1)
        await send(bus, messages(samples(220, seed=2), MODEL, first=220))
        await eventually(lambda: version() >= 2)

        assert versions == sorted(versions)


async def test_a_restarted_trainer_has_its_samples_again(etcd: Etcd, bus: Bus) -> None:
    """The stream is read from its beginning, each sample once."""
    async with running(Replica(etcd, bus, "t1", settings(min_samples=10_000))) as first:
        await send(bus, messages(samples(300, seed=1), MODEL))
        await eventually(lambda: MODEL in first.intake.windows)
        await eventually(lambda: len(first.intake.windows[MODEL]) == 300)

    async with running(Replica(etcd, bus, "t2", settings(min_samples=10_000))) as second:
        await eventually(lambda: MODEL in second.intake.windows)
        await eventually(lambda: len(second.intake.windows[MODEL]) == 300)

        before = first.intake.windows[MODEL].training_set()
        after = second.intake.windows[MODEL].training_set()
        assert (before.features == after.features).all()
        assert (before.ttft_ms == after.ttft_ms).all()


async def test_a_standby_takes_over(etcd: Etcd, bus: Bus) -> None:
    """One replica leads; when it goes the other one, which has read along, publishes."""
    async with running(Replica(etcd, bus, "standby", settings())) as standby:
        async with running(Replica(etcd, bus, "other", settings())) as other:
            await eventually(lambda: metrics.leading._value.get() == 1)
            leader = await etcd.get(TRAINER_ELECTION_KEY)
            await send(bus, messages(samples(220, seed=1), MODEL))
            await until_version(etcd, 1)
            assert len(standby.intake.windows[MODEL]) == len(other.intake.windows[MODEL]) == 220
        assert leader in (b"standby", b"other")
        await send(bus, messages(samples(220, seed=2), MODEL, first=220))
        await until_version(etcd, 2)

        assert await etcd.get(TRAINER_ELECTION_KEY) == b"standby"


async def test_bad_samples_are_counted_and_left_out(etcd: Etcd, bus: Bus) -> None:
    """Noise, another schema and failed requests do not reach the window."""
    refused = metrics.refused.labels("schema")._value.get()
    good = messages(samples(20, seed=1), MODEL)
    good[3].schema_hash = "other"
    good[4].outcome = Sample.OUTCOME_FAILED
    async with running(Replica(etcd, bus, "t1", settings())) as replica:
        await bus.publish_durable(sample(MODEL), b"\xff\xff\xff")

        await send(bus, good)
        await eventually(lambda: MODEL in replica.intake.windows)
        await eventually(lambda: len(replica.intake.windows[MODEL]) == 18)

        assert metrics.refused.labels("schema")._value.get() == refused + 1


async def test_old_bundles_are_removed(etcd: Etcd, bus: Bus) -> None:
    """The last `keep_bundles` stay; those of other models are left alone."""
    await bus.put_object(BUNDLE_BUCKET, "other.1.abc", b"x")
    chosen = settings(keep_bundles=2, refit_samples=50)
    async with running(Replica(etcd, bus, "t1", chosen)):
        for turn in range(4):
            await send(bus, messages(samples(210, seed=turn), MODEL, first=210 * turn))
            await until_version(etcd, turn + 1)
        last = await live_version(etcd)

    names = set(await bus.list_objects(BUNDLE_BUCKET))
    kept = sorted(int(name.split(".")[1]) for name in names - {"other.1.abc"})
    assert "other.1.abc" in names
    assert kept[-1] >= last
    assert len(kept) <= 3
    assert 1 not in kept


async def test_a_pointer_that_moved_is_not_overwritten(etcd: Etcd, bus: Bus) -> None:
    """A leader that was replaced while it fitted publishes nothing."""
    publisher = Publisher(etcd, bus, keep_bundles=5)
    known = samples(300, seed=1)
    won = challenge(known, DEFAULT_RATES, AnalyticModel(), tolerance=0.0)
    stale = await publisher.live(MODEL)
    assert await publisher.publish(MODEL, stale, won, known) == 1

    assert await publisher.publish(MODEL, stale, won, known) is None

    assert await live_version(etcd) == 1
    assert len(await bus.list_objects(BUNDLE_BUCKET)) == 1
