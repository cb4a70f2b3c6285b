"""Finding an engine's event addresses."""

import json

import pytest

from farsight.errors import BadRecord
from services.sidecar.source import DEFAULT_RING_BATCHES, EventSource, find, reachable


@pytest.mark.parametrize(
    ("address", "host", "expected"),
    [
        ("tcp://*:5557", "10.0.0.7", "tcp://10.0.0.7:5557"),
        ("tcp://0.0.0.0:5557", "engine", "tcp://engine:5557"),
        ("tcp://[::]:5557", "fd00::1", "tcp://[fd00::1]:5557"),
        ("tcp://10.1.1.1:5557", "10.0.0.7", "tcp://10.1.1.1:5557"),
        ("ipc:///tmp/events", "10.0.0.7", "ipc:///tmp/events"),
    ],
)
def test_wildcards_become_the_engine_host(address: str, host: str, expected: str) -> None:
    """What an engine binds is not what one connects to."""
    assert reachable(address, host) == expected


def _answer(**rank: object) -> bytes:
    published = {"enable_kv_cache_events": True, "endpoint": "tcp://*:1", "buffer_steps": 9}
    return json.dumps({"0": {}, "1": published | rank}).encode()


def test_finds_the_addresses_of_a_rank() -> None:
    """Each data-parallel rank has its own, and says how far its replay reaches back."""
    found = find(_answer(replay_endpoint="tcp://*:2"), 1, "http://h:80")

    assert found == EventSource("tcp://h:1", "tcp://h:2", 9)
    without = find(_answer(replay_endpoint=None, buffer_steps=None), 1, "http://h")
    assert without == EventSource("tcp://h:1", None, DEFAULT_RING_BATCHES)


@pytest.mark.parametrize("rank", [0, 2])
def test_no_events_is_no_source(rank: int) -> None:
    """A rank that publishes nothing, and one that is not there."""
    assert find(_answer(), rank, "http://h") is None


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"0": 1}', b'{"0": {"endpoint": 5}}', b"\xff"])
def test_other_answers_are_refused(answer: bytes) -> None:
    """With a typed error."""
    with pytest.raises(BadRecord, match="kv_event_sources"):
        find(answer, 0, "http://h")
