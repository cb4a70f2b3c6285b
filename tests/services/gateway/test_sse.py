"""Event streams cut anywhere."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.sse import MAX_EVENT_BYTES, SseReader
from services.gateway.usage import Usage

USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 2,
    "prompt_tokens_details": {"cached_tokens": 4},
}


def event(document: Any) -> bytes:
    """One data event."""
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def text(content: str) -> bytes:
    """A completion chunk."""
    return event({"choices": [{"index": 0, "text": content}]})


DONE = b"data: [DONE]\n\n"
USAGE_EVENT = event({"choices": [], "usage": USAGE})
STREAM = b": ping\n\n" + text("a") + text('"usage":') + USAGE_EVENT + DONE


@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=20))
def test_the_cut_of_the_bytes_changes_nothing(cuts: list[int]) -> None:
    """However the stream arrives, it leaves without the usage event and the usage is known."""
    reader = SseReader(hide_usage=True)
    edges = [0, *sorted(cuts), len(STREAM)]

    out = b"".join(reader.feed(STREAM[a:b]) for a, b in pairwise(edges))
    out += reader.end()

    assert out == STREAM.replace(USAGE_EVENT, b"")
    assert reader.usage == Usage(9, 2, 4)


def test_a_client_that_asked_for_usage_gets_it() -> None:
    """Nothing is hidden then."""
    reader = SseReader(hide_usage=False)

    assert reader.feed(STREAM) == STREAM
    assert reader.usage == Usage(9, 2, 4)


def test_usage_in_every_chunk_is_passed_and_the_last_counts() -> None:
    """Chunks with choices stay, whatever usage they carry."""
    reader = SseReader(hide_usage=True)
    first = event({"choices": [{"text": "a"}], "usage": {"prompt_tokens": 9}})
    null = event({"choices": [{"text": "b"}], "usage": None})

    assert reader.feed(first + null + USAGE_EVENT) == first + null
    assert reader.usage == Usage(9, 2, 4)


@pytest.mark.parametrize(
    ("payload", "is_token"),
    [
        ({"choices": [{"text": ""}]}, True),
        ({"choices": [{"delta": {"role": "assistant", "content": ""}}]}, False),
        ({"choices": [{"delta": {"role": "assistant", "content": "a"}}]}, True),
        ({"choices": [{"delta": {"content": ""}}]}, True),
        ({"choices": [{"delta": {"role": "assistant", "tool_calls": [{"index": 0}]}}]}, True),
        ({"choices": [], "usage": None}, False),
        ({"choices": 3}, False),
        ([], False),
    ],
    ids=str,
)
def test_the_first_token_is_the_first_event_beyond_the_role(payload: Any, is_token: bool) -> None:
    """A token may decode to no text; the announcement of the role is no token."""
    reader = SseReader(hide_usage=True)

    reader.feed(event(payload))

    assert reader.has_token is is_token


def test_events_may_end_with_carriage_returns() -> None:
    """CRLF streams are cut as well."""
    reader = SseReader(hide_usage=True)
    stream = STREAM.replace(b"\n", b"\r\n")

    assert reader.feed(stream) == stream.replace(USAGE_EVENT.replace(b"\n", b"\r\n"), b"")


@pytest.mark.parametrize(("code", "is_server"), [(500, True), (None, True), (400, False)])
def test_an_error_event_of_the_engine_is_seen(code: int | None, is_server: bool) -> None:
    """Also after the first token, and only when the engine is at fault."""
    reader = SseReader(hide_usage=True)
    reader.feed(text("a"))

    reader.feed(event({"error": {"message": "m", "code": code}}))

    assert reader.server_error is is_server


def test_an_endless_event_is_passed_on_in_pieces() -> None:
    """The buffer is bounded."""
    reader = SseReader(hide_usage=True)
    piece = b"x" * 65536

    out = b"".join(reader.feed(piece) for _ in range(40))

    assert len(out) >= 39 * len(piece) - MAX_EVENT_BYTES
    assert len(out) + len(reader.end()) == 40 * len(piece)


def test_malformed_usage_is_no_usage() -> None:
    """Negative or textual counts are not reported."""
    reader = SseReader(hide_usage=False)

    reader.feed(event({"usage": {"prompt_tokens": -1}}))

    assert reader.usage is None
