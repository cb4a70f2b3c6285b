"""Decoding of KV-event batches."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sidecar.events import (
    MAX_FRAME_BYTES,
    AllBlocksCleared,
    BadEvents,
    BlockRemoved,
    BlockStored,
    decode,
)

# Written by the encoder of vLLM 0.32.0.
STORED_MAP = (
    "93cb3ff0000000000000918aa474797065ab426c6f636b53746f726564ac626c6f636b5f6861736865739107b170"
    "6172656e745f626c6f636b5f68617368c0a9746f6b656e5f696473920102aa626c6f636b5f73697a6502a76c6f72"
    "615f6964c0a66d656469756da3475055a96c6f72615f6e616d65c0a967726f75705f69647800b26b765f63616368"
    "655f737065635f6b696e64ae66756c6c5f617474656e74696f6e00"
)
EVERYTHING_MAP = (
    "93cb3ff0000000000000938fa474797065ab426c6f636b53746f726564ac626c6f636b5f68617368657391c42001"
    "01010101010101010101010101010101010101010101010101010101010101b1706172656e745f626c6f636b5f68"
    "617368c4200202020202020202020202020202020202020202020202020202020202020202a9746f6b656e5f6964"
    "7392ce0001117003aa626c6f636b5f73697a6502a76c6f72615f696404a66d656469756da3435055a96c6f72615f"
    "6e616d65a26164aa65787472615f6b6579739193a2616492a3696d67fda473616c74a967726f75705f69647801b2"
    "6b765f63616368655f737065635f6b696e64ae736c6964696e675f77696e646f77bc6b765f63616368655f737065"
    "635f736c6964696e675f77696e646f77cc80a86c6f63616c697479a54c4f43414ca96f776e657273686970a26673"
    "aa73657373696f6e5f6964a17384a474797065ac426c6f636b52656d6f766564ac626c6f636b5f68617368657391"
    "cfffffffffffffffffa66d656469756da3475055a967726f75705f6964780081a474797065b0416c6c426c6f636b"
    "73436c656172656403"
)
# The positional form of vLLM before 2026-06 and of SGLang: no data-parallel rank, no LoRA name.
POSITIONAL = (
    "93cb3ff00000000000009497ab426c6f636b53746f7265649207f8c0940102030402c0a94350555f544945523197"
    "ab426c6f636b53746f72656491090792050602c0c093ac426c6f636b52656d6f7665649107c091b0416c6c426c6f"
    "636b73436c6561726564c0"
)

encode = msgspec.msgpack.encode


def test_decodes_the_map_form() -> None:
    """One stored block as vLLM 0.32 sends it, with the fields that have defaults left out."""
    batch = decode(bytes.fromhex(STORED_MAP))

    (event,) = batch.events
    assert batch.engine_unix_s == 1.0
    assert isinstance(event, BlockStored)
    assert (event.block_hashes, event.parent_block_hash, event.token_ids) == ([7], None, [1, 2])
    assert (event.block_size, event.medium, event.lora_name) == (2, "GPU", None)
    assert (event.extra_keys, event.group_idx) == (None, 0)
    assert event.kv_cache_spec_kind == "full_attention"


def test_decodes_every_field_of_the_map_form() -> None:
    """Digests as bytes, extras, group and locality; session_id is not ours and is skipped."""
    stored, removed, cleared = decode(bytes.fromhex(EVERYTHING_MAP)).events

    assert isinstance(stored, BlockStored)
    assert (stored.block_hashes, stored.parent_block_hash) == ([b"\1" * 32], b"\2" * 32)
    assert stored.extra_keys == [["ad", ["img", -3], "salt"]]
    assert (stored.lora_name, stored.group_idx, stored.kv_cache_spec_sliding_window) == (
        "ad",
        1,
        128,
    )
    assert (stored.locality, stored.ownership) == ("LOCAL", "fs")
    assert isinstance(removed, BlockRemoved)
    assert removed.block_hashes == [2**64 - 1]
    assert isinstance(cleared, AllBlocksCleared)


def test_decodes_the_positional_form() -> None:
    """Arrays with the tag in front, trailing fields cut off, signed hashes."""
    first, second, removed, cleared = decode(bytes.fromhex(POSITIONAL)).events

    assert isinstance(first, BlockStored)
    assert (first.block_hashes, first.token_ids, first.medium) == (
        [7, -8],
        [1, 2, 3, 4],
        "CPU_TIER1",
    )
    assert isinstance(second, BlockStored)
    assert (second.parent_block_hash, second.medium, second.lora_name) == (7, None, None)
    assert isinstance(removed, BlockRemoved)
    assert isinstance(cleared, AllBlocksCleared)


@pytest.mark.parametrize("tail", [[], [0], [0, "later", {"field": 1}]])
def test_takes_batches_of_any_length_from_two(tail: list[object]) -> None:
    """The rank may be missing, and newer engines may append fields."""
    batch = decode(encode([2.5, [{"type": "AllBlocksCleared"}], *tail]))

    assert batch.engine_unix_s == 2.5
    assert len(batch.events) == 1


def test_tolerates_unknown_keys_and_trailing_fields() -> None:
    """What a newer engine adds is skipped."""
    as_map = {"type": "BlockRemoved", "block_hashes": [1], "medium": "GPU", "why": ["x", {"y": 1}]}
    as_array = ["BlockRemoved", [2], "GPU", 0, None, None, "extra", 9]

    first, second = decode(encode([1.0, [as_map, as_array]])).events

    assert isinstance(first, BlockRemoved)
    assert isinstance(second, BlockRemoved)
    assert (first.block_hashes, second.block_hashes) == ([1], [2])


def test_counts_events_with_an_unknown_tag() -> None:
    """They are left out; the others of the batch are kept."""
    unknown = [{"type": "BlockTransferred", "to": 3}, ["BlockPinned", 1, 2]]

    batch = decode(encode([1.0, [unknown[0], {"type": "AllBlocksCleared"}, unknown[1]]]))

    assert batch.unknown == 2
    assert [type(event).__mro__[1] for event in batch.events] == [AllBlocksCleared]


def _stored(**fields: object) -> bytes:
    event = {"type": "BlockStored", "block_hashes": [1], "token_ids": [1, 2], "block_size": 2}
    return encode([1.0, [event | fields]])


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "msgpack"),
        (b"\xc1", "msgpack"),
        (bytes.fromhex(STORED_MAP)[:-1], "msgpack"),
        (bytes.fromhex(STORED_MAP) + b"\0", "msgpack"),
        (b"\x92\xcb" + bytes(8) + b"\xdd\xff\xff\xff\xff", "schema"),
        (encode({"ts": 1.0}), "schema"),
        (encode([1.0]), "schema"),
        (encode(["now", []]), "schema"),
        (encode([1.0, [5]]), "schema"),
        (encode([1.0, [{"no": "tag"}]]), "schema"),
        (encode([1.0, [["BlockStored"]]]), "schema"),
        (_stored(token_ids=[-1, 2]), "schema"),
        (_stored(token_ids=[2**32, 2]), "schema"),
        (_stored(token_ids=["1", 2]), "schema"),
        (_stored(block_size=-1), "schema"),
        (_stored(block_size=1 << 17), "schema"),
        (_stored(block_hashes=["text"]), "schema"),
        (_stored(block_hashes=[b"\0" * 65]), "schema"),
        (_stored(medium="x" * 5000), "schema"),
        (b"\x92\xcb" + bytes(8) + b"\x91" * 100_000, "nesting"),
        (bytes(MAX_FRAME_BYTES + 1), "too-large"),
    ],
)
def test_refuses_what_it_cannot_read(body: bytes, kind: str) -> None:
    """A typed error that says which kind of trouble it is."""
    with pytest.raises(BadEvents) as refused:
        decode(body)

    assert refused.value.kind == kind


@given(st.binary(max_size=400))
def test_nothing_but_bad_events_escapes_from_random_bytes(body: bytes) -> None:
    """Any bytes decode or raise BadEvents."""
    _decode_or_refuse(body)


@given(st.data())
def test_nothing_but_bad_events_escapes_from_damaged_batches(data: st.DataObject) -> None:
    """Real batches with bytes changed, cut out or put in."""
    body = bytearray(bytes.fromhex(data.draw(st.sampled_from([EVERYTHING_MAP, POSITIONAL]))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        cut = data.draw(st.integers(0, 3))
        body[at : at + cut] = data.draw(st.binary(max_size=6))

    _decode_or_refuse(bytes(body))


def _decode_or_refuse(body: bytes) -> None:
    with contextlib.suppress(BadEvents):
        decode(body)
