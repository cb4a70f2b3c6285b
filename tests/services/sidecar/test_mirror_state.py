"""A mirror as data: exported, stored, refused, gone on with."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farsight.errors import BadRecord
from services.sidecar.changes import ChangeLog, Tier
from services.sidecar.mirror import BlockLayout, Mirror
from services.sidecar.mirror_state import MirrorState, decode, encode
from tests.services.sidecar.events_for import LAYOUT, follow, held, remove, store, tokens_of

A, B, C = tokens_of(1), tokens_of(2), tokens_of(3)


def sample() -> Mirror:
    """Copies, an orphan, two tiers and two groups, holes between the rows."""
    mirror = Mirror(LAYOUT)
    follow(
        mirror,
        store([7], C),
        store([1, 2], A + B),
        store([1], A),
        store([1], A, medium="CPU"),
        store([9], B, parent=77),
        store([2], A + B, group_idx=1, kind="sliding_window", window=20),
        remove(7),
    )
    mirror.lose("gap")
    return mirror


def test_a_restored_mirror_goes_on() -> None:
    """It holds the same and makes the same of what comes."""
    mirror = sample()

    twin = Mirror.restore(LAYOUT, decode(encode(mirror.export())))

    assert (twin.reason, twin.kv_groups, twin.block_count) == ("gap", mirror.kv_groups, 4)
    assert held(twin) == held(mirror)
    assert held(twin, Tier.HOST) == held(mirror, Tier.HOST)
    events = (remove(1, 9), store([3], C, parent=2), remove(2, group_idx=1), remove(1))
    assert follow(twin, *events) == follow(mirror, *events)


def test_an_empty_mirror_can_be_stored() -> None:
    """Nothing is a state too."""
    twin = Mirror.restore(LAYOUT, decode(encode(Mirror(LAYOUT).export())))

    assert (twin.block_count, twin.reason) == (0, "")


def test_copies_never_wrap() -> None:
    """A count that the next copy would make 0 is of no real engine, and refused."""
    mirror = Mirror(LAYOUT)
    follow(mirror, store([1], A))
    state = mirror.export()

    for copies in (1 << 31) + 1, (1 << 32) - 1:
        full = msgspec.structs.replace(state, copies=np.uint32(copies).tobytes())
        with pytest.raises(BadRecord):
            Mirror.restore(LAYOUT, full)
    most = msgspec.structs.replace(state, copies=np.uint32(1 << 31).tobytes())
    twin = Mirror.restore(LAYOUT, most)
    assert follow(twin, store([1], A), remove(1)) == []


def test_chains_stay_together() -> None:
    """A restored mirror is announced in as few spans as the one that was exported."""
    mirror = Mirror(LAYOUT)
    for prompt in range(3):
        tokens = [token for at in range(4) for token in tokens_of(10 * prompt + at)]
        follow(mirror, store(range(10 * prompt, 10 * prompt + 4), tokens))
    log = ChangeLog()

    Mirror.restore(LAYOUT, mirror.export()).announce(log)

    (change,) = log.take()
    assert change.spans == (0, 4) * 3


@pytest.mark.parametrize(
    ("layout", "options"),
    [
        (BlockLayout("other", 16, 16), {}),
        (BlockLayout("model", 32, 16), {}),
        (LAYOUT, {"count_copies": False}),
        (LAYOUT, {"offload_chunk_blocks": 2}),
    ],
)
def test_a_state_of_another_layout_is_refused(layout: BlockLayout, options: dict[str, Any]) -> None:
    """Its keys would be others."""
    with pytest.raises(BadRecord):
        Mirror.restore(layout, sample().export(), **options)


@pytest.mark.parametrize("cut", [0, 4, 5, 40, -1])
def test_a_damaged_state_is_refused(cut: int) -> None:
    """Whatever is cut off or changed."""
    data = encode(sample().export())

    with pytest.raises(BadRecord):
        decode(data[:cut])
    changed = bytearray(data)
    changed[cut] ^= 0x40
    with pytest.raises(BadRecord):
        decode(bytes(changed))


def _ints(*values: int) -> bytes:
    return np.array(values, np.int32).tobytes()


@pytest.mark.parametrize(
    "fields",
    [
        {"hashes": b"123"},
        {"hashes": bytes(8 * 3)},
        {"nodes": _ints(0, 0, 9)},
        {"nodes": _ints(0, 0, -7)},
        {"copies": bytes(3 * 3 * 4)},
        {"copies": _ints(-1, 1, 0, 1, 0, 1, 1, 0, 0)},
        {"lengths": b"\xff" * (3 * 3 * 2)},
        {"keys": bytes(16)},
        {"keys": b"\1" * 16},
        {"parents": _ints(0, 0)},
        {"parents": _ints(1, -1)},
        {"parents": _ints(-1, -1)},
        {"groups": []},
    ],
)
def test_states_that_cannot_be_are_refused(fields: dict[str, Any]) -> None:
    """Each row points where something is; nothing crashes. A few may even be."""
    state = msgspec.structs.replace(sample().export(), **fields)

    try:
        Mirror.restore(LAYOUT, state).check_integrity()
    except BadRecord:
        return
    assert fields.keys() <= {"groups", "parents"}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_state_crashes(data: st.DataObject) -> None:
    """Arrays with any bytes changed are a mirror or a BadRecord."""
    state = sample().export()
    name = data.draw(st.sampled_from([f.name for f in msgspec.structs.fields(MirrorState)][-6:]))
    array = bytearray(getattr(state, name))
    at = data.draw(st.integers(0, len(array) - 1))
    array[at] = data.draw(st.integers(0, 255))

    try:
        mirror = Mirror.restore(LAYOUT, msgspec.structs.replace(state, **{name: bytes(array)}))
    except BadRecord:
        return
    mirror.check_integrity()


@given(st.binary(max_size=200))
def test_random_bytes_are_no_state(data: bytes) -> None:
    """BadRecord and nothing else."""
    with pytest.raises(BadRecord):
        decode(data)
