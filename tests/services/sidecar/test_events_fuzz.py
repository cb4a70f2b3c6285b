"""Whatever bytes an engine sends, `decode` raises BadEvents or the mirror takes the batch."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sidecar.changes import ChangeLog
from services.sidecar.events import BadEvents, decode
from services.sidecar.mirror import BlockLayout, Mirror
from tests.fakes.engine import body_of, cleared, removed, stored
from tests.services.sidecar.events_for import placeholder
from tests.services.sidecar.test_events import EVERYTHING_MAP, POSITIONAL, STORED_MAP

SPAN = list(range(64))
BODIES = [
    *(bytes.fromhex(body) for body in (STORED_MAP, EVERYTHING_MAP, POSITIONAL)),
    body_of([stored([1, 2, 3, 4], SPAN, extra_keys=[["s"], [["img", 3]], None, None])]),
    body_of([stored([2, 4], SPAN, block_size=32), stored([9], SPAN[:16], parent=4), removed([2])]),
    body_of([placeholder(4), cleared(), removed([4, 7], medium="CPU")]),
    msgspec.msgpack.encode([1, [["BlockStored", [5, -6], None, SPAN[:32], 16, None, "CPU_TIER2"]]]),
]

small = st.integers(-(2**63), 2**64 - 1) | st.integers(-2, 70)
anything = st.recursive(
    st.none() | st.booleans() | small | st.floats() | st.text(max_size=8) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
blocks = st.lists(st.integers(0, 20), max_size=4)
fields: dict[str, st.SearchStrategy[Any]] = {
    "parent_block_hash": st.none() | st.integers(0, 20),
    "token_ids": st.sampled_from([0, 16, 32, 48, 64, 7]).map(lambda count: SPAN[:count]),
    "block_size": st.sampled_from([0, 8, 16, 24, 32, 64, 65536]),
    "medium": st.sampled_from([None, "GPU", "CPU", "STORAGE", "TAPE"]),
    "lora_name": st.none() | st.text(max_size=3),
    "extra_keys": st.none() | st.lists(st.none() | st.lists(anything, max_size=3), max_size=4),
    "group_idx": st.none() | st.integers(0, 3) | st.integers(0, 2**16),
    "kv_cache_spec_kind": st.sampled_from(
        [None, "full_attention", "sliding_window", "mamba", "cross_attention", "x"]
    ),
    "kv_cache_spec_sliding_window": st.none() | st.integers(0, 2**40),
}
events = st.fixed_dictionaries(
    {"type": st.sampled_from(["BlockStored", "BlockStored", "BlockRemoved", "AllBlocksCleared"])}
    | {"block_hashes": blocks},
    optional=fields,
)


def take(*bodies: bytes) -> None:
    """Follow what can be decoded."""
    mirror = Mirror(BlockLayout("model", 32, 16), offload_chunk_blocks=2, expected_blocks=1)
    log = ChangeLog()
    for body in bodies:
        try:
            batch = decode(body)
        except BadEvents:
            continue
        mirror.apply(batch, log)
        mirror.check_integrity()
    log.take()


def damaged(draw: Callable[..., Any], body: bytes) -> bytes:
    """Bytes changed, cut out or put in."""
    changed = bytearray(body)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(changed)))
        changed[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=6))
    return bytes(changed)


@given(st.binary(max_size=400))
def test_random_bytes(body: bytes) -> None:
    """Hardly ever a batch."""
    take(body)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damaged_batches(data: st.DataObject) -> None:
    """Real batches of every producer with bytes changed, between two that are whole."""
    first, second = (data.draw(st.sampled_from(BODIES)) for _ in range(2))

    take(first, damaged(data.draw, second), second)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.lists(events, max_size=4), max_size=3))
def test_batches_of_any_events(batches: list[list[dict[str, Any]]]) -> None:
    """Well-formed events that make little sense together."""
    take(*(body_of(batch) for batch in batches))


@settings(deadline=None)
@given(st.lists(anything, max_size=4))
def test_batches_of_any_values(values: list[Any]) -> None:
    """Well-formed msgpack that is no event."""
    take(body_of(values), msgspec.msgpack.encode(values))


@pytest.mark.parametrize("depth", [10, 200, 400, 800, 1000])
def test_deeply_nested_extras(depth: int) -> None:
    """Either the decoder or the folding meets the limit first; none of them falls over."""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    head = body_of([stored([1], SPAN[:16], extra_keys=[[7]])])
    assert head.count(b"\x91\x91\x07") == 1

    take(head.replace(b"\x91\x91\x07", b"\x91\x91" + b"\x91" * depth + b"\x07"))
