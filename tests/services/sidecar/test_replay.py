"""Replay answers with holes, as an engine sends them whose socket overflows."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
import zmq
import zmq.asyncio

from services.sidecar.replay import ReplaySilent, replay

END = b"\xff" * 8


@asynccontextmanager
async def answering(answer: Callable[[int, int], Sequence[int | None]]) -> AsyncIterator[str]:
    """A replay server: `answer(request number, start)` gives the numbers to send, None for the end.

    Yields its address.
    """
    context = zmq.asyncio.Context()
    router = context.socket(zmq.ROUTER)
    port = router.bind_to_random_port("tcp://127.0.0.1")

    async def serve() -> None:
        for asked in range(100):
            client, _, start = await router.recv_multipart()
            for seq in answer(asked, int.from_bytes(start, "big")):
                tail = [END, b""] if seq is None else [seq.to_bytes(8, "big"), b"body"]
                await router.send_multipart([client, b"", b"", *tail])

    serving = asyncio.create_task(serve())
    yield f"tcp://127.0.0.1:{port}"
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    context.destroy(linger=0)


async def read(address: str, start: int = 0) -> list[int]:
    """All numbers that a replay brings."""
    context = zmq.asyncio.Context()
    try:
        slices = replay(context, address, start, timeout_s=0.3)
        return [frame.seq async for frames in slices for frame in frames]
    finally:
        context.destroy(linger=0)


async def test_dropped_answers_are_asked_for_again() -> None:
    """From the first hole on, until all is there."""
    asked: list[int] = []

    def answer(request: int, start: int) -> list[int | None]:
        asked.append(start)
        kept = [seq for seq in range(start, 10) if request or seq not in (3, 4, 8)]
        return [*kept, None]

    async with answering(answer) as address:
        assert await read(address) == list(range(10))

    assert asked == [0, 3]


async def test_a_dropped_end_is_noticed() -> None:
    """The end is asked for again and not taken for a dead engine."""

    def answer(request: int, start: int) -> list[int | None]:
        return list(range(start, 4)) + ([None] if request else [])

    async with answering(answer) as address:
        assert await read(address) == [0, 1, 2, 3]


async def test_what_is_gone_is_jumped_over() -> None:
    """A second answer that begins behind the hole says that the ring begins there."""

    def answer(_request: int, start: int) -> list[int | None]:
        return [*(seq for seq in (0, 1, 6, 7) if seq >= start), None]

    async with answering(answer) as address:
        assert await read(address) == [0, 1, 6, 7]


async def test_numbers_below_the_start_are_left_out() -> None:
    """An engine may answer more than it was asked."""
    async with answering(lambda _, __: [3, 4, 5, 6, None]) as address:
        assert await read(address, start=5) == [5, 6]


async def test_silence_is_an_error() -> None:
    """Nobody answered at all."""
    async with answering(lambda _, __: []) as address:
        with pytest.raises(ReplaySilent, match="no answer"):
            await read(address)
