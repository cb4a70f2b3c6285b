"""What KV events mean, where no other test shows it; docs/kv-index.md lists all of them."""

from services.sidecar.changes import Tier
from services.sidecar.mirror import Mirror
from services.sidecar.source import EventSource, find
from tests.services.sidecar.events_for import (
    LAYOUT,
    clear,
    follow,
    held,
    keys_of,
    placeholder,
    remove,
    store,
    tokens_of,
)

A, B, C = tokens_of(1), tokens_of(2), tokens_of(3)


def keys(tokens: list[int]) -> set[int]:
    """Keys of a prompt as numbers."""
    packed = keys_of(tokens)
    return {int.from_bytes(packed[at : at + 8], "little") for at in range(0, len(packed), 8)}


def test_a_file_that_existed_already_is_no_copy() -> None:
    """Item 5: storage announces a file whenever it meets it; one removal takes it away."""
    mirror = Mirror(LAYOUT)
    follow(
        mirror, store([1], A), placeholder(1, medium="STORAGE"), placeholder(1, medium="STORAGE")
    )
    assert held(mirror, Tier.STORAGE) == keys(A)

    follow(mirror, remove(1, medium="STORAGE"))

    assert held(mirror, Tier.STORAGE) == set()
    assert held(mirror) == keys(A)


def test_overlapping_chunks_that_describe_themselves_are_counted() -> None:
    """Item 5: all hashes and tokens, no extras; a block of two chunks stays until both are gone."""
    mirror = Mirror(LAYOUT)
    first = store([1, 2], A + B, medium="CPU") | {"extra_keys": None}
    second = store([2, 3], B + C, parent=1, medium="CPU") | {"extra_keys": None}
    follow(mirror, first, second)
    assert held(mirror, Tier.HOST) == keys(A + B + C)

    follow(mirror, remove(1, 2, medium="CPU"))

    assert held(mirror, Tier.HOST) == keys(A + B + C) - keys(A)


def test_a_reset_of_the_host_is_not_told() -> None:
    """Item 6: a clear names no tier and is the device's; blocks on the host stay."""
    mirror = Mirror(LAYOUT)
    follow(mirror, store([1], A), store([1], A, medium="CPU"), clear())

    assert held(mirror) == set()
    assert held(mirror, Tier.HOST) == keys(A)


def test_a_tensor_parallel_engine_is_one_publisher() -> None:
    """Item 7: its scheduler publishes for all workers, and only under the rank of the replica."""
    page = (
        b'{"0": {"enable_kv_cache_events": true, "publisher": "zmq", "endpoint": "tcp://*:5557",'
        b' "replay_endpoint": "tcp://*:5558", "buffer_steps": 10000}}'
    )

    found = find(page, 0, "http://pod:8000")

    assert found == EventSource("tcp://pod:5557", "tcp://pod:5558", 10_000)
    assert find(page, 1, "http://pod:8000") is None
