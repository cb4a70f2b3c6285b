"""One pod's KV events on ZMQ: the PUB stream, and a ring of past batches that is told on request.

The messages are vLLM's: `[topic, seq, body]` on PUB; a replay request `[identity, "", start]` is
answered with `[identity, "", topic, seq, body]` for each batch from there on, then with seq -1.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec
import zmq
import zmq.asyncio

from farsight.errors import InvalidField
from sim.emulator.kv_events import KvEvent

RING_BATCHES = 10_000
HIGH_WATER_MARK = 100_000
_END = (-1).to_bytes(8, "big", signed=True)
# Batches that are sent in one go while other tasks wait.
_SLICE = 32


class EventPublisher:
    """Binds both sockets; `close` gives the ports back."""

    def __init__(
        self,
        context: zmq.asyncio.Context,
        host: str,
        events_port: int,
        replay_port: int,
        topic: str,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.topic = topic
        self._topic = topic.encode()
        self._wall_clock = wall_clock
        self._next = 0
        self._ring: deque[tuple[bytes, bytes]] = deque(maxlen=RING_BATCHES)
        self._encoder = msgspec.msgpack.Encoder()
        # PUB never blocks, so it is used without futures.
        self._pub: zmq.Socket[bytes] = zmq.Context.shadow(context.underlying).socket(zmq.PUB)
        self._router = context.socket(zmq.ROUTER)
        try:
            self.events_port = _bind(self._pub, host, events_port, "events_base_port")
            self.replay_port = _bind(self._router, host, replay_port, "replay_base_port")
        except InvalidField:
            self.close()
            raise

    def publish(self, events: Sequence[KvEvent]) -> None:
        """Send one batch and keep it."""
        seq = self._next.to_bytes(8, "big")
        body = self._encoder.encode([self._wall_clock(), events, 0])
        self._next += 1
        self._ring.append((seq, body))
        self._pub.send_multipart((self._topic, seq, body), zmq.NOBLOCK, copy=False)

    async def serve_replays(self) -> None:
        """Answer replay requests until cancelled."""
        while True:
            request = await self._router.recv_multipart()
            if len(request) == 3:
                await self._replay(request[0], int.from_bytes(request[2], "big"))

    async def _replay(self, client: bytes, start: int) -> None:
        oldest = self._next - len(self._ring)
        retained = list(self._ring)[max(0, start - oldest) :]
        for at in range(0, len(retained), _SLICE):
            for seq, body in retained[at : at + _SLICE]:
                await self._router.send_multipart((client, b"", self._topic, seq, body))
            await asyncio.sleep(0)
        await self._router.send_multipart((client, b"", b"", _END, b""))

    def close(self) -> None:
        """Close the sockets."""
        self._pub.close(linger=0)
        self._router.close(linger=0)


def _bind(
    socket: "zmq.Socket[bytes] | zmq.asyncio.Socket", host: str, port: int, field: str
) -> int:
    """Bind to a port, 0 for a free one; the port.

    :raises InvalidField: it cannot be bound.
    """
    socket.set(zmq.LINGER, 0)
    socket.set(zmq.SNDHWM, HIGH_WATER_MARK)
    address = "*" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host
    socket.set(zmq.IPV6, int(":" in host))
    try:
        socket.bind(f"tcp://{address}:{port or '*'}")
    except zmq.ZMQError as error:
        raise InvalidField(field, f"ports that can be bound at {host}: {error}") from error
    endpoint = socket.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(endpoint, bytes)
    return int(endpoint.rpartition(b":")[2].rstrip(b"\0"))
