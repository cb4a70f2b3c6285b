"""Continuity of one subscription to an engine."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
import zmq.asyncio

from services.sidecar.frames import Frame
from services.sidecar.source import EventSource, find
from services.sidecar.stream import BEGINNING, EnginePosition, KvStream, Resync
from tests.fakes.engine import FakeEngine, body_of, cleared
from tests.waiting import eventually


@dataclass
class ListSink:
    """Keeps what a stream hands over."""

    seqs: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    live_from: int | None = None
    flushes: int = 0
    heard: bool = True

    def hears(self, live: bool) -> None:
        """Keep the verdict."""
        self.heard = live

    def apply(self, frame: Frame) -> None:
        """Keep the number."""
        self.seqs.append(frame.seq)

    def lose(self, reason: str) -> None:
        """Keep the reason."""
        self.lost.append(reason)

    async def flush(self) -> None:
        """Count."""
        self.flushes += 1

    async def caught_up(self) -> None:
        """Keep how far the replay came."""
        self.live_from = len(self.seqs)


async def source_of(engine: FakeEngine, *, with_replay: bool = True) -> EventSource:
    """The engine's addresses as a sidecar finds them."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(engine.url + "/kv_event_sources") as answer,
    ):
        found = find(await answer.read(), 0, engine.url)
    assert found is not None
    return found if with_replay else EventSource(found.events, None)


@asynccontextmanager
async def following(
    engine: FakeEngine,
    *,
    with_replay: bool = True,
    tail_check_s: float = 60,
    replay_timeout_s: float = 1,
    start: EnginePosition = BEGINNING,
) -> AsyncIterator[tuple[ListSink, asyncio.Task[None]]]:
    """A stream that has caught up with its engine and receives what is published."""
    sink = ListSink()
    context = zmq.asyncio.Context()
    stream = KvStream(
        context,
        await source_of(engine, with_replay=with_replay),
        sink,
        replay_timeout_s=replay_timeout_s,
        tail_check_s=tail_check_s,
        start=start,
    )
    task: asyncio.Task[None] = asyncio.create_task(stream.run())
    await eventually(lambda: sink.live_from is not None or task.done())
    await asyncio.sleep(0.1)  # a subscription reaches the publisher in its own time
    try:
        yield sink, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        context.destroy(linger=0)


async def ended(task: asyncio.Task[None]) -> str:
    """Why a stream gave up."""
    with pytest.raises(Resync) as resync:
        await asyncio.wait_for(task, 5)
    return resync.value.reason


async def test_history_is_replayed_and_then_followed() -> None:
    """Every batch once, in order, none lost."""
    async with FakeEngine() as engine:
        for _ in range(3):
            await engine.publish(cleared())
        async with following(engine) as (sink, _):
            assert sink.seqs == [0, 1, 2]
            for _ in range(3):
                await engine.publish(cleared())
            await eventually(lambda: len(sink.seqs) == 6)

    assert sink.seqs == list(range(6))
    assert (sink.live_from, sink.lost) == (3, [])


async def test_a_fresh_engine_has_no_history() -> None:
    """An empty answer means that nothing was ever published."""
    async with FakeEngine() as engine, following(engine) as (sink, _):
        assert (sink.seqs, sink.lost, sink.live_from) == ([], [], 0)


async def test_a_gap_is_filled_from_the_replay() -> None:
    """Batches that never came are asked for when the next one comes."""
    async with FakeEngine() as engine, following(engine) as (sink, _):
        await engine.publish(cleared())
        for _ in range(5):
            engine.retain(body_of([cleared()], 2.0))
        await engine.publish(cleared())
        await eventually(lambda: len(sink.seqs) == 7)

    assert sink.seqs == list(range(7))
    assert sink.lost == []


async def test_events_that_only_replay_brings_are_no_live_events() -> None:
    """A dead subscription is noticed, and its end as well."""
    async with FakeEngine() as engine, following(engine, tail_check_s=0.05) as (sink, _):
        await engine.publish(cleared())
        await eventually(lambda: len(sink.seqs) == 1)
        assert sink.heard

        for _ in range(3):
            engine.retain(body_of([cleared()], 2.0))
            await asyncio.sleep(0.2)
        await eventually(lambda: not sink.heard)
        assert len(sink.seqs) == 4

        await engine.publish(cleared())
        await eventually(lambda: sink.heard)


async def test_a_gap_that_the_ring_has_forgotten_is_lost() -> None:
    """The stream goes on and says so."""
    async with FakeEngine(ring_batches=2) as engine, following(engine) as (sink, _):
        await engine.publish(cleared())
        for _ in range(5):
            engine.retain(body_of([cleared()], 2.0))
        await engine.publish(cleared())
        await eventually(lambda: len(sink.seqs) >= 3)
        await engine.publish(cleared())
        await eventually(lambda: sink.seqs[-1] == 7)

    assert sink.seqs == [0, 5, 6, 7]
    assert sink.lost == ["partial-replay"]


async def test_a_replay_that_does_not_reach_back_is_accepted() -> None:
    """What is left of the history is used, and the loss is said."""
    async with FakeEngine(ring_batches=3) as engine:
        for _ in range(8):
            await engine.publish(cleared())
        async with following(engine) as (sink, _):
            assert sink.seqs == [5, 6, 7]
            assert sink.lost == ["partial-replay"]


async def test_a_hole_in_the_ring_is_lost() -> None:
    """It is asked for again, and then given up."""
    async with FakeEngine() as engine:
        for _ in range(6):
            await engine.publish(cleared())
        engine.forget(3)
        async with following(engine) as (sink, _):
            assert sink.seqs == [0, 1, 2, 4, 5]
            assert sink.lost == ["partial-replay"]


async def test_a_lost_tail_is_found_while_the_engine_is_idle() -> None:
    """Nothing follows that would show the gap, so the end is checked."""
    async with FakeEngine() as engine, following(engine, tail_check_s=0.1) as (sink, task):
        await engine.publish(cleared())
        await eventually(lambda: sink.seqs == [0])
        engine.retain(body_of([cleared()], 2.0))
        await eventually(lambda: sink.seqs == [0, 1])
        await asyncio.sleep(0.3)

        assert not task.done()
        assert (sink.seqs, sink.lost) == ([0, 1], [])


async def test_a_restart_shows_by_its_numbers() -> None:
    """A sequence that goes backwards is another process."""
    async with FakeEngine() as engine, following(engine) as (sink, task):
        for _ in range(3):
            await engine.publish(cleared())
        await eventually(lambda: len(sink.seqs) == 3)
        await engine.restart()
        await asyncio.sleep(0.3)
        await engine.publish(cleared())

        assert await ended(task) == "sequence-backwards"


async def test_a_restart_right_after_the_replay_shows_by_its_clock() -> None:
    """Its first batches carry numbers that the replay has brought, but later times."""
    async with FakeEngine() as engine:
        for _ in range(3):
            await engine.publish(cleared())
        async with following(engine) as (_, task):
            await engine.restart()
            await asyncio.sleep(0.3)
            await engine.publish(cleared())

            assert await ended(task) == "sequence-backwards"


async def test_a_restart_that_looks_like_a_gap_is_found() -> None:
    """The new process has come further than the old one by the time that it is heard."""
    async with FakeEngine() as engine, following(engine) as (sink, task):
        for _ in range(3):
            await engine.publish(cleared())
        await eventually(lambda: len(sink.seqs) == 3)
        await engine.restart()
        for _ in range(5):
            engine.retain(body_of([cleared()], 9.0))
        await asyncio.sleep(0.3)
        await engine.publish(cleared())

        assert await ended(task) == "engine-restarted"
        assert sink.seqs == [0, 1, 2]


@pytest.mark.parametrize("batches_after", [0, 1, 5])
async def test_a_restart_is_found_by_the_check_of_the_tail(batches_after: int) -> None:
    """The last batch is not the one that was applied, whatever its number is."""
    async with FakeEngine() as engine:
        await engine.publish(cleared())
        async with following(engine, tail_check_s=0.3) as (_, task):
            await engine.restart()
            for _ in range(batches_after):
                engine.retain(body_of([cleared()], 9.0))

            assert await ended(task) == "engine-restarted"


async def test_live_batches_do_not_wait_for_the_check_of_the_tail() -> None:
    """The engine answers the check late; what it publishes meanwhile is applied at once."""
    async with FakeEngine() as engine, following(engine, tail_check_s=0.05) as (sink, task):
        await engine.publish(cleared())
        await eventually(lambda: sink.seqs == [0])
        engine.answers_replays.clear()
        asked = engine.replays
        await eventually(lambda: engine.replays > asked)

        await engine.publish(cleared())
        await eventually(lambda: sink.seqs == [0, 1])
        engine.answers_replays.set()
        engine.retain(body_of([cleared()], time.time()))
        await eventually(lambda: sink.seqs == [0, 1, 2])
        assert not task.done()

    assert sink.lost == []


async def test_batches_that_come_during_a_check_are_applied_once_and_in_order() -> None:
    """Whether the check or the subscription brings them first."""
    async with FakeEngine() as engine, following(engine, tail_check_s=0.01) as (sink, task):
        for i in range(150):
            if i % 3:
                await engine.publish(cleared())
            else:
                engine.retain(body_of([cleared()], time.time()))
            await asyncio.sleep(0.002 * (i % 11))
        await eventually(lambda: len(sink.seqs) == 150)
        assert not task.done()

    assert sink.seqs == list(range(150))
    assert sink.lost == []


async def position_after(engine: FakeEngine, count: int) -> EnginePosition:
    """Where a stream stands after some batches of known time."""
    for i in range(count):
        engine.retain(body_of([cleared()], float(i)))
    return EnginePosition(count, float(count - 1))


async def test_a_stream_goes_on_where_an_earlier_one_stood() -> None:
    """The last applied batch is asked for again and not applied again."""
    async with FakeEngine(ring_batches=4) as engine:
        start = await position_after(engine, 20)
        for _ in range(3):
            engine.retain(body_of([cleared()], 99.0))
        async with following(engine, start=start) as (sink, _):
            assert (sink.seqs, sink.lost) == ([20, 21, 22], [])
            await engine.publish(cleared())
            await eventually(lambda: sink.seqs[-1] == 23)

    assert sink.lost == []


async def test_a_stream_does_not_go_on_when_the_ring_has_passed() -> None:
    """Batches between are lost: the earlier state is of no use."""
    async with FakeEngine(ring_batches=3) as engine:
        start = await position_after(engine, 20)
        for _ in range(3):
            engine.retain(body_of([cleared()], 99.0))
        async with following(engine, start=start) as (sink, task):
            assert await ended(task) == "ring-overrun"

    assert sink.seqs == []


@pytest.mark.parametrize("batches", [0, 5, 30])
async def test_a_stream_does_not_go_on_in_another_process(batches: int) -> None:
    """Another batch has the number of the last one, or none."""
    async with FakeEngine() as engine:
        for _ in range(batches):
            engine.retain(body_of([cleared()], 99.0))
        async with following(engine, start=EnginePosition(20, 19.0)) as (sink, task):
            assert await ended(task) == "engine-restarted"

    assert sink.seqs == []


async def test_an_engine_that_does_not_answer_replays_is_read_again_later() -> None:
    """Without its history the stream cannot begin."""
    async with FakeEngine() as engine:
        source = await source_of(engine)
        context = zmq.asyncio.Context()
        silent = EventSource(source.events, source.events)
        stream = KvStream(context, silent, ListSink(), replay_timeout_s=0.2, tail_check_s=60)

        with pytest.raises(Resync, match="replay-silent"):
            await stream.run()
        context.destroy(linger=0)


async def test_without_a_replay_address_nothing_is_certain() -> None:
    """The live stream is followed; history and gaps are lost."""
    async with FakeEngine() as engine:
        await engine.publish(cleared())
        async with following(engine, with_replay=False) as (sink, _):
            await engine.publish(cleared())
            await eventually(lambda: sink.seqs == [1])

    assert sink.lost == ["no-replay", "gap"]


async def test_a_long_history_is_read_whole() -> None:
    """Also when the engine sends it faster than it is taken."""
    async with FakeEngine() as engine:
        for _ in range(5000):
            engine.retain(body_of([cleared()], 1.0))
        async with following(engine) as (sink, _):
            assert sink.seqs == list(range(5000))
            assert sink.lost == []
