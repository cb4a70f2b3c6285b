"""Takes messages from a ZMQ socket without a future for each: wait once, then drain."""

import zmq
import zmq.asyncio

RECEIVE_HWM = 100_000
MAX_MESSAGE_BYTES = 256 * 1024 * 1024
RECONNECT_MS = 100
RECONNECT_MAX_MS = 2000
HEARTBEAT_MS = 2000
HEARTBEAT_TIMEOUT_MS = 6000


class Inbox:
    """The receiving side of a socket that connects to an engine; closes it when left."""

    def __init__(self, context: zmq.asyncio.Context, kind: int, address: str) -> None:
        self.socket = context.socket(kind)
        self.socket.set(zmq.LINGER, 0)
        self.socket.set(zmq.RCVHWM, RECEIVE_HWM)
        self.socket.set(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        self.socket.set(zmq.RECONNECT_IVL, RECONNECT_MS)
        self.socket.set(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
        self.socket.set(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        self.socket.set(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
        self.socket.set(zmq.IPV6, 1)
        if kind == zmq.SUB:
            self.socket.set(zmq.SUBSCRIBE, b"")
        self.socket.connect(address)
        self._direct: zmq.Socket[bytes] = zmq.Socket.shadow(self.socket.underlying)

    def __enter__(self) -> "Inbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close(linger=0)

    async def wait(self, timeout_s: float | None) -> bool:
        """A message is there; False when none came in time, None waits for ever."""
        timeout_ms = None if timeout_s is None else int(timeout_s * 1000)
        return bool(await self.socket.poll(timeout_ms))

    def take(self) -> list[bytes] | None:
        """The next message, None when there is none now."""
        try:
            return self._direct.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None
