"""Several indexers beside each other, over real etcd and NATS, asked by the router's client."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import numpy as np
import pytest

from farsight import discovery
from farsight.bus import Bus
from farsight.etcd import Etcd
from farsight.index.match import Confidence, Matches
from farsight.index.question import asked_again_total
from farsight.index.remote import RemoteIndex
from farsight.runtime import Runtime
from services.indexer.service import build
from services.indexer.settings import IndexerSettings
from tests.farsight.index.sidecars import Sidecar
from tests.services.processes import process
from tests.services.running import running
from tests.waiting import eventually

FLEET = tuple(f"pod-{i}" for i in range(12))
KEYS = np.arange(1, 101, dtype=np.uint64)
EXACT = Confidence.EXACT


@asynccontextmanager
async def sidecars(bus: Bus) -> AsyncIterator[Sequence[Sidecar]]:
    """A fleet; endpoint i holds i + 1 blocks of the prompt."""
    made = [Sidecar(bus, endpoint_id) for endpoint_id in FLEET]
    async with AsyncExitStack() as stack:
        for i, sidecar in enumerate(made):
            sidecar.cache.store(*KEYS[: i + 1].tolist())
            await stack.enter_async_context(sidecar.alive())
        yield made


@asynccontextmanager
async def client(etcd: Etcd) -> AsyncIterator[RemoteIndex]:
    """As a router has it."""
    index = RemoteIndex(5.0)
    watch = asyncio.create_task(etcd.watch(discovery.INDEXERS_PREFIX, index.update))
    try:
        yield index
    finally:
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
        await index.close()


class Traffic:
    """Asks for the whole fleet all the time."""

    def __init__(self, index: RemoteIndex) -> None:
        self._index = index
        self.answers = 0
        self.faults: list[str] = []
        self.last: Matches | None = None

    @property
    def is_whole(self) -> bool:
        """The last answer had every endpoint, EXACT and right."""
        return self.last is not None and not fault_of(self.last)

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                self.last = await self._index.match(KEYS, FLEET)
            except Exception as error:
                self.last = None
                self.faults.append(repr(error))
            else:
                self.answers += 1
                if fault := fault_of(self.last):
                    self.faults.append(fault)
            await asyncio.sleep(0.005)

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """While the block runs."""
        task = asyncio.create_task(self.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def fault_of(found: Matches) -> str:
    """What is wrong with an answer; empty when nothing is."""
    if found.endpoint_ids != FLEET:
        return f"only {found.endpoint_ids}"
    if (found.confidence != EXACT).any():
        return f"confidences {found.confidence.tolist()}"
    if found.device_blocks.tolist() != list(range(1, len(FLEET) + 1)):
        return f"blocks {found.device_blocks.tolist()}"
    return ""


@pytest.fixture
def indexer(etcd_url: str, nats_url: str) -> Callable[..., AbstractAsyncContextManager[Runtime]]:
    """Starts a replica in this process."""

    def start(replica_id: str, copies: int) -> AbstractAsyncContextManager[Runtime]:
        given = {"etcd": etcd_url, "nats": nats_url, "replica_id": replica_id, "drain_s": 1}
        return running(
            "indexer",
            IndexerSettings.model_validate(given | {"index_copies": copies, "handover_s": 1}),
            build,
        )

    return start


def again() -> float:
    """Endpoints that were asked for again after a failed call."""
    return float(asked_again_total.labels("failed")._value.get())


def ready(index: RemoteIndex) -> int:
    """Replicas that the client knows to be ready."""
    return sum(replica.is_ready for replica in index.replicas)


async def test_replicas_answer_alike(
    etcd: Etcd,
    bus: Bus,
    indexer: Callable[..., AbstractAsyncContextManager[Runtime]],
) -> None:
    """Two that hold everything, each asked alone, while blocks come and go."""
    async with sidecars(bus) as fleet, indexer("i1", 0), indexer("i2", 0), client(etcd) as index:
        await eventually(lambda: ready(index) == 2)
        records, _ = await etcd.list_prefix(discovery.INDEXERS_PREFIX)
        for sidecar in fleet:
            await sidecar.send(sidecar.cache.store(1000, 1001))
        for name in records:
            alone = RemoteIndex(5.0)
            alone.update({name: records[name]})
            traffic = Traffic(alone)
            async with traffic.flowing():
                await eventually(lambda traffic=traffic: traffic.is_whole)  # type: ignore[misc] # mypy cannot infer a lambda with a default
            await alone.close()


async def test_a_fourth_replica_takes_its_share_and_no_answer_is_lost(
    etcd: Etcd,
    bus: Bus,
    indexer: Callable[..., AbstractAsyncContextManager[Runtime]],
) -> None:
    """One copy of each endpoint: the old holder answers until the new one can."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(sidecars(bus))
        for replica_id in ("i1", "i2", "i3"):
            await stack.enter_async_context(indexer(replica_id, 1))
        index = await stack.enter_async_context(client(etcd))
        traffic = Traffic(index)
        await stack.enter_async_context(traffic.flowing())
        await eventually(lambda: ready(index) == 3 and traffic.is_whole)
        traffic.faults.clear()

        await stack.enter_async_context(indexer("i4", 1))
        await eventually(lambda: ready(index) == 4)
        answers = traffic.answers
        await asyncio.sleep(3)  # longer than the old holders keep what they lost

        assert traffic.faults == []
        assert traffic.answers > answers


async def test_the_loss_of_one_of_two_copies_is_not_seen(
    etcd: Etcd, bus: Bus, etcd_url: str, nats_url: str
) -> None:
    """A replica dies by SIGKILL while requests flow: each is answered whole."""
    flags = (f"--etcd={etcd_url}", f"--nats={nats_url}", "--index-copies=2")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(sidecars(bus))
        processes = {
            name: await stack.enter_async_context(
                process("indexer", *flags, f"--replica-id={name}")
            )
            for name in ("i1", "i2", "i3")
        }
        index = await stack.enter_async_context(client(etcd))
        traffic = Traffic(index)
        await stack.enter_async_context(traffic.flowing())
        await eventually(lambda: ready(index) == 3 and traffic.is_whole, 20)
        await asyncio.sleep(1)
        traffic.faults.clear()
        failed = again()

        preferred = processes[index.replicas[0].replica_id]
        preferred.kill()
        await preferred.wait()
        answers = traffic.answers
        await asyncio.sleep(1)

        assert traffic.faults == []
        assert traffic.answers > answers
        assert again() > failed
