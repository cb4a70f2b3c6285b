"""Samples on their way to the trainer, over a real NATS."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from farsight.bus import Bus
from farsight.latency.features import SCHEMA_HASH
from farsight.pb.events_pb2 import Sample
from farsight.pb.router_pb2 import Finished
from farsight.subjects import SAMPLE_STREAM
from services.router import metrics, samples
from services.router.samples import SampleSender, make_sample
from tests.conftest import free_port, launch_nats, stop, wait_for_port
from tests.services.router.given import opened
from tests.waiting import eventually


def sample(number: int) -> Sample:
    """A sample of its own decision."""
    return make_sample(opened(f"d{number}"), "e0", 0, Finished(output_tokens=number))


@contextlib.asynccontextmanager
async def running(sender: SampleSender) -> AsyncIterator[None]:
    """The sender's task."""
    task = asyncio.create_task(sender.run())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def stored(bus: Bus, count: int) -> list[str]:
    """Decision ids in the stream, oldest first, once there are so many."""
    found: list[str] = []

    async def take(batch: list[bytes]) -> None:
        found.extend(Sample.FromString(data).decision_id for data in batch)

    task = asyncio.create_task(bus.consume(SAMPLE_STREAM, None, take, 100))
    try:
        await eventually(lambda: len(found) >= count)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    return found


def test_a_sample_is_the_decision_and_its_end() -> None:
    """Features, prediction and cached tokens are those of the endpoint that served."""
    end = Finished(
        status=Finished.STATUS_COMPLETED, ttft_ms=5, tpot_ms=6, e2e_ms=7, output_tokens=8,
        cached_tokens=0,
    )  # fmt: skip

    made = make_sample(opened("d"), "e1", 1, end)

    assert (made.decision_id, made.endpoint_id, made.outcome) == ("d", "e1", 1)
    assert np.frombuffer(made.features, "<f4").tolist() == list(range(12, 24))
    assert (made.schema_hash, made.bundle_version) == (SCHEMA_HASH, 3)
    assert (made.ttft_ms, made.tpot_ms, made.e2e_ms, made.output_tokens) == (5, 6, 7, 8)
    assert (made.prompt_tokens, made.cached_tokens_predicted) == (100, 0)
    assert made.HasField("cached_tokens_actual")
    assert made.predicted.ttft.q90_ms == 150


async def test_samples_arrive_in_order_and_once(bus: Bus) -> None:
    """Sent one after the other, each acknowledged; `drain` waits for the last."""
    sender = SampleSender(bus)
    for number in range(50):
        sender.send(sample(number))

    async with running(sender):
        await sender.drain(10)
        found = await stored(bus, 50)

    assert found == [f"d{number}" for number in range(50)]


async def test_drain_gives_up_at_its_limit() -> None:
    """Without NATS a router still stops."""
    sender = SampleSender(Bus("nats://127.0.0.1:1"))
    sender.send(sample(1))

    await asyncio.wait_for(sender.drain(0.05), 5)


def nats_server(port: int, folder: Path) -> subprocess.Popen[bytes]:
    """A nats-server with JetStream."""
    server = launch_nats(port, folder)
    wait_for_port(port, server)
    return server


async def test_nothing_is_lost_while_nats_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it came, while it runs, while it is gone, and after it is back."""
    monkeypatch.setattr(samples, "RETRY_S", 0.05)
    port = free_port()
    bus = Bus(f"nats://127.0.0.1:{port}")
    sender = SampleSender(bus)
    connecting = asyncio.create_task(bus.run())
    async with running(sender):
        sender.send(sample(0))
        server = nats_server(port, tmp_path)
        try:
            await asyncio.wait_for(connecting, 10)
            sender.send(sample(1))
            await sender.drain(10)
            stop(server)
            await eventually(lambda: not bus.connected)
            for number in range(2, 12):
                sender.send(sample(number))

            server = nats_server(port, tmp_path)
            await sender.drain(10)

            assert await stored(bus, 12) == [f"d{number}" for number in range(12)]
        finally:
            await bus.close()
            stop(server)


async def test_the_queue_is_bounded_and_the_oldest_go_first(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is dropped is counted."""
    monkeypatch.setattr(samples, "MAX_QUEUED", 5)
    dropped = metrics.samples.labels("dropped")
    before = dropped._value.get()
    sender = SampleSender(bus)

    for number in range(8):
        sender.send(sample(number))
    async with running(sender):
        await sender.drain(10)

    assert dropped._value.get() == before + 3
    assert await stored(bus, 5) == [f"d{number}" for number in range(3, 8)]
