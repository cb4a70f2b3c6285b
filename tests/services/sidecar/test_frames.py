"""Multipart messages of the event stream."""

import pytest

from services.sidecar.frames import (
    EndOfReplay,
    Frame,
    parse_published,
    parse_replayed,
    replay_request,
)
from tests.fakes.engine import body_of

SEQ = (258).to_bytes(8, "big")
END = b"\xff" * 8


def test_reads_published_batches() -> None:
    """Topic, big-endian sequence number, body."""
    assert parse_published([b"topic", SEQ, b"body"]) == Frame(258, b"body")


@pytest.mark.parametrize("message", [[], [b"t", SEQ], [b"t", b"\0", b"b"], [b"", SEQ, b"", b""]])
def test_other_shapes_are_no_batches(message: list[bytes]) -> None:
    """They are left to the caller to count."""
    assert parse_published(message) is None


@pytest.mark.parametrize("topic", [[], [b"topic"]])
def test_reads_replayed_batches_with_and_without_topic(topic: list[bytes]) -> None:
    """Older engines leave the topic out."""
    assert parse_replayed([b"", *topic, SEQ, b"body"]) == Frame(258, b"body")
    assert parse_replayed([b"", *topic, END, b""]) == EndOfReplay()


@pytest.mark.parametrize("message", [[], [b"", SEQ], [b"id", SEQ, b"b"], [b"", b"t", b"7", b"b"]])
def test_other_shapes_are_no_replay_answers(message: list[bytes]) -> None:
    """They are left to the caller to count."""
    assert parse_replayed(message) is None


def test_asks_for_a_replay_from_a_number() -> None:
    """An empty frame, then the number: the ROUTER puts the identity in front."""
    assert replay_request(258) == (b"", SEQ)


@pytest.mark.parametrize(
    ("body", "clock"),
    [(body_of([], 12.5), 12.5), (b"", None), (b"\x93" + bytes(20), None), (b"\x80", None)],
)
def test_reads_the_engine_clock_without_decoding(body: bytes, clock: float | None) -> None:
    """It stands at the front of each batch."""
    assert Frame(0, body).engine_unix_s == clock
