"""Block keys against the xxhash package and against constants."""

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from farsight import keys
from farsight.errors import InvalidField
from farsight.extras import prompt_extras

SEED = keys.seed_of("llama-3-8b", "", 16)
UINT64 = st.integers(0, 2**64 - 1)
TOKENS = st.lists(st.integers(0, 2**32 - 1), max_size=200)


def reference_chain(
    seed: int, tokens: list[int], block_tokens: int, extras: list[int] | None = None
) -> list[int]:
    """The chain as the module's docstring defines it, with another XXH64."""
    out: list[int] = []
    parent = seed
    for i in range(len(tokens) // block_tokens):
        block = np.array(tokens[i * block_tokens : (i + 1) * block_tokens], "<u4").tobytes()
        extra = extras[i] if extras is not None and i < len(extras) else 0
        parent = xxhash.xxh64_intdigest(block, parent ^ extra) or 1
        out.append(parent)
    return out


def test_golden_vectors() -> None:
    """Seeds, extras and keys are these constants for ever: fleets of mixed versions share them."""
    salted = prompt_extras("tenant-a", (), 16)

    assert keys.seed_of("llama-3-8b", "", 16) == GOLDEN["seed"]
    assert keys.seed_of("llama-3-8b", "sql", 16) == GOLDEN["seed with adapter"]
    assert keys.extra_of([b"image", b"\x01\x02\x03"]) == GOLDEN["extra"]
    assert salted is not None
    assert salted.tolist() == [GOLDEN["salt"]]
    tokens = np.arange(48, dtype=np.uint32)
    assert keys.chain(SEED, tokens, 16).tolist() == GOLDEN_CHAIN
    assert keys.chain(SEED, tokens, 16, salted).tolist() == GOLDEN_SALTED_CHAIN


@pytest.mark.parametrize("count", range(41))
def test_one_block_of_every_size_is_its_xxh64(count: int) -> None:
    """Every path of the kernel (stripes, pairs, a single token) agrees with the library."""
    tokens = np.arange(count, dtype=np.uint32) * np.uint32(2654435761)

    digest = keys._xxh64(tokens, 0, count, np.uint64(SEED))

    assert int(digest) == xxhash.xxh64_intdigest(tokens.astype("<u4").tobytes(), SEED)


@given(UINT64, TOKENS, st.integers(1, 40), st.none() | st.lists(UINT64, max_size=20))
def test_chains_agree_with_the_library(
    seed: int, tokens: list[int], block_tokens: int, extras: list[int] | None
) -> None:
    """Any seed, tokens, block size and extras give the reference's keys; a last part has none."""
    given_extras = None if extras is None else np.array(extras, np.uint64)

    found = keys.chain(seed, np.array(tokens, np.uint32), block_tokens, given_extras)

    assert found.dtype == np.uint64
    assert found.tolist() == reference_chain(seed, tokens, block_tokens, extras)


@given(TOKENS, st.integers(0, 12))
def test_a_chain_goes_on_from_any_key(tokens: list[int], cut: int) -> None:
    """The key of a block as seed continues the chain, so an event's parent is all it needs."""
    whole = keys.chain(SEED, np.array(tokens, np.uint32), 16)
    cut = min(cut, whole.size)
    parent = int(whole[cut - 1]) if cut else SEED

    rest = keys.chain(parent, np.array(tokens[cut * 16 :], np.uint32), 16)

    assert rest.tolist() == whole[cut:].tolist()


@pytest.mark.parametrize("multiple", [1, 2, 4, 8])
def test_an_engine_block_is_canonical_blocks(multiple: int) -> None:
    """An engine block of k * 16 tokens has the keys of k canonical blocks."""
    tokens = np.arange(multiple * 16 * 3, dtype=np.uint32)
    whole = keys.chain(SEED, tokens, keys.CANONICAL_BLOCK_TOKENS)

    parent, by_block = SEED, []
    for block in tokens.reshape(3, multiple * 16):
        found = keys.chain(parent, block, keys.CANONICAL_BLOCK_TOKENS)
        by_block += found.tolist()
        parent = by_block[-1]

    assert by_block == whole.tolist()


def test_namespaces_never_share_keys() -> None:
    """Model, adapter and block size each change the seed, wherever a name is split."""
    names = [("m", "", 16), ("m", "a", 16), ("ma", "", 16), ("", "ma", 16), ("m", "", 32)]

    seeds = {keys.seed_of(*name) for name in names}

    assert len(seeds) == len(names)


def test_extras_are_told_apart_by_their_parts() -> None:
    """Nothing is 0; parts do not run into each other."""
    assert keys.extra_of([]) == 0
    assert keys.extra_of([b"ab", b"c"]) != keys.extra_of([b"a", b"bc"])
    assert keys.extra_of([b"a"]) != keys.extra_of([b"a\0"])


def test_a_salt_changes_every_key_of_a_prompt() -> None:
    """The salt marks block 0 and the chain carries it on; no salt is no extra."""
    tokens = np.arange(64, dtype=np.uint32)

    plain = keys.chain(SEED, tokens, 16, prompt_extras("", (), 16))
    salted = keys.chain(SEED, tokens, 16, prompt_extras("tenant-a", (), 16))

    assert plain.tolist() == keys.chain(SEED, tokens, 16).tolist()
    assert not np.isin(salted, plain).any()


def test_received_tokens_are_hashed_where_they_lie() -> None:
    """A read-only view of bytes and a strided view give the keys of a plain array."""
    tokens = np.arange(64, dtype=np.uint32)
    wide = np.repeat(tokens, 2)

    assert keys.chain(SEED, np.frombuffer(tokens.tobytes(), "<u4"), 16).tolist() == (
        keys.chain(SEED, wide[::2], 16).tolist()
    )


@given(st.lists(st.integers(1, 2**64 - 1), max_size=50))
def test_packed_keys_come_back(values: list[int]) -> None:
    """`unpack` undoes `pack`; a key takes 8 bytes, the lowest first."""
    packed = keys.pack(np.array(values, np.uint64))

    assert packed == b"".join(value.to_bytes(8, "little") for value in values)
    assert keys.unpack(packed, "keys").tolist() == values


@pytest.mark.parametrize(
    "data",
    [b"\x01", b"\x01" * 15, b"\x01" * 8 * 5, bytes(8), b"\x01" * 8 + bytes(8)],
    ids=["short", "torn", "too many", "zero", "zero at the end"],
)
def test_bad_packed_keys_are_refused(data: bytes) -> None:
    """A torn key, more keys than allowed, or key 0, which marks an empty slot, name the field."""
    with pytest.raises(InvalidField) as refused:
        keys.unpack(data, "changes.keys", max_keys=4)

    assert refused.value.field == "changes.keys"


GOLDEN = {
    "seed": 0x7C279EE5BAEC1C52,
    "seed with adapter": 0x4981CA9D5B5FDB85,
    "extra": 0x26C38C3953E8421D,
    "salt": 0xBE4A02E4F4E1F177,
}
GOLDEN_CHAIN = [0x30FBD7CC14D9B7B4, 0x89DEC695B4276D56, 0x6CCAB1E23896230C]
GOLDEN_SALTED_CHAIN = [0xF314CCCFBF8C79BC, 0x3BA2CAFEEE6B2DC9, 0x5AA696029BC1BE9C]
