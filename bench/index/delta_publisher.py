"""Publishes KvDelta messages over a plain socket, so that it costs next to nothing.

It speaks the few lines of NATS's client protocol that publishing needs.
"""

import socket
import time
from urllib.parse import urlsplit

from bench.index import workload
from bench.index.own_holders import EXACT, IndexHolder
from bench.index.progress import Progress
from bench.index.workload import DELTA_BLOCKS
from farsight import subjects
from farsight.pb.events_pb2 import Load

WINDOW = 8_000
CHUNK = 250
_NOWHERE = "bench.nowhere"
_CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"lang":"bench","version":"1"}\r\n'


class RawPublisher:
    """One connection to a nats-server."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._socket = socket.create_connection((parts.hostname, parts.port))
        self._answers = self._socket.makefile("rb")
        self._answers.readline()  # INFO
        self.send(_CONNECT)
        self.confirm()

    def send(self, lines: bytes) -> None:
        """Write protocol lines."""
        self._socket.sendall(lines)

    def confirm(self) -> None:
        """Return when the server has taken everything that was sent."""
        self.send(b"PING\r\n")
        while (answer := self._answers.readline()) != b"PONG\r\n":
            if not answer or answer.startswith(b"-ERR"):
                raise ConnectionError(f"nats-server: {answer!r}")
            if answer == b"PING\r\n":
                self.send(b"PONG\r\n")


def published(subject: str, payload: bytes) -> bytes:
    """The protocol line of a message."""
    return b"PUB %b %d\r\n%b\r\n" % (subject.encode(), len(payload), payload)


class DeltaSource:
    """The deltas of a workload, encoded, and heartbeats that say how many there were."""

    def __init__(self, url: str, blocks: int, endpoints: int, applied: Progress) -> None:
        self._publisher = RawPublisher(url)
        self._applied = applied
        encoder = IndexHolder(endpoints)
        blocks_there = workload.build(blocks, endpoints).first(blocks)
        messages = []
        for chunk in blocks_there.chunks(CHUNK):
            for delta in chunk:
                (message,) = encoder.prepared(delta)
                subject = subjects.delta(message.endpoint_id)
                messages.append((subject, message.SerializeToString()))
        self._lines = [
            b"".join(published(*message) for message in messages[at : at + CHUNK])
            for at in range(0, len(messages), CHUNK)
        ]
        self._elsewhere = [
            b"".join(published(_NOWHERE, payload) for _, payload in messages[at : at + CHUNK])
            for at in range(0, len(messages), CHUNK)
        ]
        self._count = len(messages)
        self._heartbeats = b"".join(_heartbeat(e, seq) for e, seq in encoder.sent())

    def count(self) -> int:
        """Messages."""
        return self._count

    def limit_blocks_per_s(self) -> float:
        """How fast the server takes them when nobody reads."""
        started = time.perf_counter()
        for lines in self._elsewhere:
            self._publisher.send(lines)
        self._publisher.confirm()
        return self._count * DELTA_BLOCKS / (time.perf_counter() - started)

    def publish(self) -> float:
        """Send all, WINDOW messages ahead of the reader, and then the heartbeats; when it began."""
        began = time.monotonic()
        for number, lines in enumerate(self._lines):
            self._applied.wait_for((number + 1) * CHUNK - WINDOW)
            self._publisher.send(lines)
        self._publisher.send(self._heartbeats)
        self._publisher.confirm()
        return began


def _heartbeat(endpoint_id: str, seq: int) -> bytes:
    load = Load(endpoint_id=endpoint_id, epoch=1, kv_confidence=EXACT, kv_seq=seq)
    return published(subjects.load(endpoint_id), load.SerializeToString())
