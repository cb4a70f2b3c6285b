"""Decoding of KV-event batches."""

import msgspec
import pytest

from services.sidecar.event_kernels import MAX_EVENTS, MAX_TOKENS
from services.sidecar.event_rows import MEDIUMS, SPEC_KINDS
from services.sidecar.events import (
    MAX_FRAME_BYTES,
    BadEvents,
    Batch,
    Beside,
    EventKind,
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


def values(batch: Batch, i: int) -> tuple[list[int], list[int]]:
    """Hashes and tokens of an event."""
    row = batch.rows[i]
    hashes = batch.hashes[row["first_hash"] :][: row["hashes"]]
    tokens = batch.tokens[row["first_token"] :][: row["tokens"]]
    return hashes.tolist(), tokens.tolist()


def kinds(batch: Batch) -> list[EventKind]:
    """What the events say."""
    return [EventKind(kind) for kind in batch.rows["kind"]]


def test_decodes_the_map_form() -> None:
    """One stored block as vLLM 0.32 sends it, with the fields that have defaults left out."""
    batch = decode(bytes.fromhex(STORED_MAP))

    (row,) = batch.rows
    assert (batch.engine_unix_s, kinds(batch)) == (1.0, [EventKind.STORED])
    assert values(batch, 0) == ([7], [1, 2])
    assert (row["has_parent"], row["block_tokens"], row["group"], row["extras"]) == (0, 2, 0, -1)
    assert MEDIUMS[row["medium"]] == "GPU"
    assert SPEC_KINDS[row["spec_kind"]] == "full_attention"
    assert batch.beside == {}


def test_decodes_every_field_of_the_map_form() -> None:
    """Digests as bytes, extras, group and window; session_id is not ours and is skipped."""
    batch = decode(bytes.fromhex(EVERYTHING_MAP))

    stored, _, _ = batch.rows
    assert kinds(batch) == [EventKind.STORED, EventKind.REMOVED, EventKind.CLEARED]
    assert batch.kind_counts == dict.fromkeys(EventKind, 1)
    assert values(batch, 0) == ([0x0101010101010101], [70000, 3])
    assert (stored["has_parent"], stored["parent"]) == (1, 0x0202020202020202)
    assert (stored["group"], stored["window_tokens"], stored["extras"]) == (1, 128, 1)
    assert SPEC_KINDS[stored["spec_kind"]] == "sliding_window"
    assert batch.beside == {0: Beside("ad", [["ad", ["img", -3], "salt"]])}
    assert values(batch, 1) == ([2**64 - 1], [])


def test_decodes_the_positional_form() -> None:
    """Arrays with the tag in front, trailing fields cut off, signed hashes."""
    batch = decode(bytes.fromhex(POSITIONAL))

    first, second, _, _ = batch.rows
    assert kinds(batch)[1:] == [EventKind.STORED, EventKind.REMOVED, EventKind.CLEARED]
    assert values(batch, 0) == ([7, 2**64 - 8], [1, 2, 3, 4])
    assert (MEDIUMS[first["medium"]], MEDIUMS[second["medium"]]) == ("CPU_TIER1", "")
    assert (second["has_parent"], second["parent"]) == (1, 7)
    assert values(batch, 2) == ([7], [])


@pytest.mark.parametrize(
    ("wire", "name"),
    [
        (0, 0),
        (127, 127),
        (200, 200),
        (2**16, 2**16),
        (2**32, 2**32),
        (2**64 - 1, 2**64 - 1),
        (-1, 2**64 - 1),
        (-200, 2**64 - 200),
        (-(2**15), 2**64 - 2**15),
        (-(2**31), 2**64 - 2**31),
        (-(2**63), 2**63),
        (b"", 0),
        (b"\x12\x34", 0x1234),
        (b"\xff" * 24 + (5).to_bytes(8, "big"), 5),
    ],
)
def test_a_hash_is_named_by_its_low_64_bits(wire: int | bytes, name: int) -> None:
    """Numbers modulo 2^64, digests by their last bytes: one block, one name."""
    batch = decode(encode([1.0, [["BlockStored", [wire], wire], ["BlockRemoved", [wire]]]]))

    assert batch.hashes.tolist() == [name, name]
    assert batch.rows[0]["parent"] == name


@pytest.mark.parametrize("tail", [[], [0], [0, "later", {"field": 1}]])
def test_takes_batches_of_any_length_from_two(tail: list[object]) -> None:
    """The rank may be missing, and newer engines may append fields."""
    batch = decode(encode([2.5, [{"type": "AllBlocksCleared"}], *tail]))

    assert batch.engine_unix_s == 2.5
    assert len(batch.rows) == 1


def test_tolerates_unknown_keys_and_trailing_fields() -> None:
    """What a newer engine adds is skipped."""
    as_map = {"type": "BlockRemoved", "block_hashes": [1], "medium": "GPU", "why": ["x", {"y": 1}]}
    as_array = ["BlockRemoved", [2], "GPU", 0, None, None, "extra", 9]

    batch = decode(encode([1.0, [as_map, as_array]]))

    assert kinds(batch) == [EventKind.REMOVED, EventKind.REMOVED]
    assert batch.hashes.tolist() == [1, 2]


def test_counts_events_with_an_unknown_tag() -> None:
    """They are left out; the others of the batch are kept."""
    unknown = [{"type": "BlockTransferred", "to": 3}, ["BlockPinned", 1, 2]]

    batch = decode(encode([1.0, [unknown[0], {"type": "AllBlocksCleared"}, unknown[1]]]))

    assert batch.unknown == 2
    assert kinds(batch) == [EventKind.CLEARED]


def _stored(**fields: object) -> bytes:
    event = {"type": "BlockStored", "block_hashes": [1], "token_ids": [1, 2], "block_size": 2}
    return encode([1.0, [event | fields]])


def _nested(depth: int) -> bytes:
    return _stored(extra_keys=[[0]])[:-1] + b"\x91" * depth + b"\xc0"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "msgpack"),
        (b"\xc1", "msgpack"),
        (bytes.fromhex(STORED_MAP)[:-1], "msgpack"),
        (bytes.fromhex(STORED_MAP) + b"\0", "msgpack"),
        (b"\x92\xcb" + bytes(8) + b"\xdd\xff\xff\xff\xff", "schema"),
        (b"\x92\xcb" + bytes(8) + b"\x91" * 100_000, "msgpack"),
        (encode([1.0, [[1] * (MAX_TOKENS + 1)]])[:-1], "msgpack"),
        (_stored(token_ids=[1] * (MAX_TOKENS + 1)), "schema"),
        (encode([1.0, [["X"]] * (MAX_EVENTS + 1)]), "schema"),
        (_stored(lora_name=b"\xff"), "schema"),
        (_stored(extra_keys=[5]), "schema"),
        (
            encode([1.0, [["BlockStored", [1], None, [], 2, None, None, "ad"]]])[:-2] + b"\xff\xff",
            "msgpack",
        ),
        (_nested(100_000), "nesting"),
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
        (bytes(MAX_FRAME_BYTES + 1), "too-large"),
    ],
)
def test_refuses_what_it_cannot_read(body: bytes, kind: str) -> None:
    """A typed error that says which kind of trouble it is."""
    with pytest.raises(BadEvents) as refused:
        decode(body)

    assert refused.value.kind == kind
