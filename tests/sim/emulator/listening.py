"""A pod's KV events as a subscriber gets them, read by the sidecar's own code."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import zmq
import zmq.asyncio

from services.sidecar.frames import EndOfReplay, Frame, parse_published, parse_replayed
from sim.emulator.publisher import EventPublisher


class Listener:
    """Subscribed to one publisher."""

    def __init__(self, context: zmq.asyncio.Context, publisher: EventPublisher) -> None:
        self._context = context
        self._publisher = publisher
        self._sub = context.socket(zmq.SUB)
        self._sub.set(zmq.SUBSCRIBE, b"")
        self._sub.connect(f"tcp://127.0.0.1:{publisher.events_port}")

    async def next(self, limit_s: float = 5.0) -> tuple[bytes, Frame]:
        """Topic and frame of the next batch."""
        assert await self._sub.poll(int(limit_s * 1000)), "nothing was published"
        message = await self._sub.recv_multipart()
        frame = parse_published(message)
        assert frame is not None
        return message[0], frame

    async def replay(self, start: int) -> list[Frame]:
        """What the pod retains from a number on."""
        frames: list[Frame] = []
        with self._context.socket(zmq.DEALER) as dealer:
            dealer.set(zmq.LINGER, 0)
            dealer.set(zmq.RCVHWM, 100_000)
            dealer.connect(f"tcp://127.0.0.1:{self._publisher.replay_port}")
            await dealer.send_multipart([b"", start.to_bytes(8, "big")])
            while True:
                match parse_replayed(await dealer.recv_multipart()):
                    case Frame() as frame:
                        frames.append(frame)
                    case EndOfReplay():
                        return frames
                    case None:
                        raise AssertionError("no replay answer")

    def close(self) -> None:
        """Stop listening."""
        self._sub.close(linger=0)


@asynccontextmanager
async def listening(*publishers: EventPublisher) -> AsyncIterator[list[Listener]]:
    """Listeners, once their subscriptions have arrived."""
    context = zmq.asyncio.Context()
    listeners = [Listener(context, publisher) for publisher in publishers]
    try:
        # ZMQ does not tell a publisher when a subscription has arrived.
        await asyncio.sleep(0.2)
        yield listeners
    finally:
        for listener in listeners:
            listener.close()
        context.term()


def batch_of(frame: Frame) -> tuple[float, list[dict[str, Any]], int]:
    """Time, events and rank of a body."""
    ts, events, rank = msgspec.msgpack.decode(frame.body)
    return ts, events, rank
