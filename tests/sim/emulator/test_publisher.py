"""Batches go out in vLLM's frames, are retained, and are told again on request."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import zmq.asyncio

from farsight.errors import InvalidField
from services.sidecar.frames import Frame
from sim.emulator.kv_events import AllBlocksCleared, BlockRemoved
from sim.emulator.publisher import RING_BATCHES, EventPublisher
from tests.conftest import free_port
from tests.fakes.engine import cleared, removed
from tests.sim.emulator.listening import batch_of, listening


def seconds() -> Iterator[float]:
    """A clock that moves on when it is read."""
    now = 100.0
    while True:
        yield now
        now += 0.5


@asynccontextmanager
async def publishing(events_port: int = 0) -> AsyncIterator[EventPublisher]:
    """A publisher that answers replay requests."""
    clock = seconds()
    with zmq.asyncio.Context() as context:
        publisher = EventPublisher(
            context, "127.0.0.1", events_port, 0, "kv@pod-0@tiny", lambda: next(clock)
        )
        replaying = asyncio.create_task(publisher.serve_replays())
        try:
            yield publisher
        finally:
            replaying.cancel()
            await asyncio.gather(replaying, return_exceptions=True)
            publisher.close()


async def test_a_batch_has_topic_number_time_events_and_rank() -> None:
    """As the sidecar expects it; numbers begin at 0."""
    async with publishing() as publisher, listening(publisher) as (listener,):
        publisher.publish([BlockRemoved([2**64 - 1], "GPU")])
        publisher.publish([AllBlocksCleared()])
        topic, first = await listener.next()
        _, second = await listener.next()

    assert topic == b"kv@pod-0@tiny"
    assert (first.seq, first.engine_unix_s, second.seq) == (0, 100.0, 1)
    assert batch_of(first) == (100.0, [removed([2**64 - 1])], 0)
    assert batch_of(second) == (100.5, [cleared()], 0)


async def test_replay_tells_the_same_batches_from_a_number_on() -> None:
    """In order, up to the end marker; nothing when there is nothing."""
    async with publishing() as publisher, listening(publisher) as (listener,):
        assert await listener.replay(0) == []
        sent: list[Frame] = []
        for number in range(100):
            publisher.publish([BlockRemoved([number], "GPU")])
            sent.append((await listener.next())[1])

        assert await listener.replay(0) == sent
        assert await listener.replay(97) == sent[97:]
        assert await listener.replay(100) == []


async def test_the_ring_forgets_the_oldest_batches() -> None:
    """It holds vLLM's 10,000, and a subscriber that keeps up gets all of them in one answer."""
    async with publishing() as publisher, listening(publisher) as (listener,):
        for _ in range(RING_BATCHES + 5):
            publisher.publish([AllBlocksCleared()])
        frames = await listener.replay(0)

    assert [frame.seq for frame in frames] == list(range(5, RING_BATCHES + 5))


async def test_others_go_on_while_a_replay_is_sent() -> None:
    """It is sent in slices."""
    async with publishing() as publisher, listening(publisher) as (listener,):
        for _ in range(RING_BATCHES):
            publisher.publish([AllBlocksCleared()])
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(other())
        await listener.replay(0)
        beside.cancel()

    assert turns > 100


async def test_a_port_that_is_taken_is_named() -> None:
    """With the field that set it."""
    port = free_port()
    async with publishing(port):
        with pytest.raises(InvalidField, match="events_base_port"):
            async with publishing(port):
                pass
