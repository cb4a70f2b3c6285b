"""The ZMQ side of an engine: publishes batches that were encoded beforehand, and replays them."""

import time
from collections.abc import Callable

import zmq

from bench.index.engine_batches import Batches
from bench.index.progress import Progress

JOIN_LIMIT_MS = 30_000
WINDOW_BLOCKS = 40_000
_END = b"\xff" * 8
_SUBSCRIBED = b"\1"


class EngineStandIn:
    """A publisher that knows when somebody has subscribed, and a replay socket.

    :param received: blocks, or batches, that have come out at the other end.
    """

    def __init__(self, make_batches: Callable[[], Batches], received: Progress) -> None:
        self._batches = make_batches()
        self._received = received
        self._context = zmq.Context()
        self._pub = self._context.socket(zmq.XPUB)
        self._pub.set(zmq.SNDHWM, 0)
        self._pub.set(zmq.XPUB_VERBOSE, 1)  # tell of a reader though an earlier one just left
        self._router = self._context.socket(zmq.ROUTER)
        self._addresses = (_bound(self._pub), _bound(self._router))
        self._sent = 0

    def addresses(self) -> tuple[str, str]:
        """Of the events and of the replay."""
        return self._addresses

    def blocks(self) -> list[int]:
        """Changed blocks of each batch."""
        return self._batches.blocks

    def until_followed(self, with_replay: bool) -> None:
        """Return when somebody has subscribed, and has asked for the replay if that is expected.

        :raises TimeoutError: nobody has.
        """
        self._sent = 0
        while True:
            if not self._pub.poll(JOIN_LIMIT_MS):
                raise TimeoutError("nobody subscribes")
            if self._pub.recv().startswith(_SUBSCRIBED):
                break
        if with_replay and not self._serve_replay(JOIN_LIMIT_MS):
            raise TimeoutError("nobody asks for the replay")
        time.sleep(0.2)

    def publish_all(self) -> float:
        """Everything, WINDOW_BLOCKS ahead of what has come out; when it began, seconds."""
        began, ahead = time.monotonic(), 0
        for blocks in self._batches.blocks:
            ahead += blocks
            while ahead - self._received.value > WINDOW_BLOCKS:
                self._serve_replay(1)
            self._send()
            self._serve_replay(0)
        self._received.wait_for(ahead)
        return began

    def publish_paced(self, blocks_per_s: float) -> list[float]:
        """Everything at a constant rate; when each batch was sent, monotonic seconds."""
        due, sent_at = time.monotonic(), []
        for blocks in self._batches.blocks:
            while (left_s := due - time.monotonic()) > 0:
                self._serve_replay(int(left_s * 1000) + 1)
            sent_at.append(time.monotonic())
            self._send()
            due += blocks / blocks_per_s
        return sent_at

    def _send(self) -> None:
        number, body = self._sent, self._batches.bodies[self._sent]
        self._sent += 1
        self._pub.send_multipart((b"kv@bench", number.to_bytes(8, "big"), body))

    def _serve_replay(self, wait_ms: int) -> bool:
        """Answer one request that comes in time."""
        if not self._router.poll(wait_ms):
            return False
        client, _, start = self._router.recv_multipart()
        for number in range(int.from_bytes(start, "big"), self._sent):
            frames = (number.to_bytes(8, "big"), self._batches.bodies[number])
            self._router.send_multipart((client, b"", b"kv@bench", *frames))
        self._router.send_multipart((client, b"", b"", _END, b""))
        return True


def _bound(socket: "zmq.Socket[bytes]") -> str:
    return f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"
