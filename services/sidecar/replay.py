"""Asks an engine for the batches it retains, from one sequence number on, in order.

The engine's replay socket drops answers silently when they come faster than they are taken, so an
answer with holes is asked for again from the first hole, until nothing more is gained.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import zmq
import zmq.asyncio

from services.sidecar import metrics
from services.sidecar.frames import EndOfReplay, Frame, parse_replayed, replay_request
from services.sidecar.inbox import Inbox

MAX_SLICE = 64


class ReplaySilent(Exception):
    """The engine did not answer a replay request in time."""


async def replay(
    context: zmq.asyncio.Context, address: str, start: int, timeout_s: float
) -> AsyncGenerator[list[Frame]]:
    """Slices of retained batches, sequence numbers rising from `start` or from where they begin.

    A jump between two batches is final: the engine does not retain what lies between.

    :raises ReplaySilent: nothing came for `timeout_s`.
    """
    expected = start
    while True:
        gained = holes = False
        try:
            async with aclosing(_ask(context, address, expected, timeout_s)) as slices:
                async for frames in slices:
                    wanted: list[Frame] = []
                    for frame in frames:
                        # The first answer is never dropped: where it begins, the ring begins.
                        is_first = not gained and not wanted
                        holes = holes or (frame.seq > expected and not is_first)
                        if frame.seq >= expected and not holes:
                            wanted.append(frame)
                            expected = frame.seq + 1
                    if wanted:
                        gained = True
                        yield wanted
        except ReplaySilent:
            if not gained:
                raise
            holes = True
        metrics.replays.labels("holes" if holes else "whole").inc()
        if not holes or not gained:
            return


async def _ask(
    context: zmq.asyncio.Context, address: str, start: int, timeout_s: float
) -> AsyncGenerator[list[Frame]]:
    """Batches as they come, until the engine says that it was all."""
    with Inbox(context, zmq.DEALER, address) as inbox:
        await inbox.socket.send_multipart(replay_request(start))
        while await inbox.wait(timeout_s):
            frames: list[Frame] = []
            while len(frames) < MAX_SLICE and (message := inbox.take()) is not None:
                match parse_replayed(message):
                    case Frame() as frame:
                        frames.append(frame)
                    case EndOfReplay():
                        yield frames
                        return
                    case None:
                        metrics.bad_batches.labels("frames").inc()
            yield frames
    raise ReplaySilent(f"{address}: no answer for {timeout_s} s after seq {start}")
