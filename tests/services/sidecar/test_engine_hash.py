"""vLLM's block hashes against golden vectors."""

import pytest

from services.sidecar.engine_hash import EngineHash, Untaggable, tag, wire_hash

# Block 0 is tokens 0 to 15, block 1 tokens 16 to 31.
GOLDEN = [
    ("sha256", "", "fe8fa5dda3210d0c", 7142137847444424233),
    ("sha256", "42", "63921f8159563637", 7267745021275738674),
    ("sha256_cbor", "", "dc918a88b139e5af", 17911472383915781900),
    ("sha256_cbor", "42", "63876f948a5f9ef8", 13957787785847563040),
    ("xxhash", "42", "51c09bc039b52f38", 9263927631139055237),
    ("xxhash_cbor", "42", "6efc8ab550d01924", 17900829223840199876),
]


@pytest.mark.parametrize(("algorithm", "seed", "first", "second"), GOLDEN)
def test_golden_vectors(algorithm: str, seed: str, first: str, second: int) -> None:
    """The four algorithms, with the seed of SHA-256 and with the environment's."""
    digests = EngineHash(algorithm, seed).chain(range(35), 16)

    assert len(digests) == 2
    assert (digests[0].hex()[:16], wire_hash(digests[1])) == (first, second)
    assert len(digests[0]) == (32 if algorithm.startswith("sha256") else 16)


def test_a_salt_is_hashed_with_block_0() -> None:
    """As a tagged pair."""
    (digest,) = EngineHash("sha256_cbor").chain(range(16), 16, [tag(["tenant-a"], True)])

    assert (digest.hex()[:16], wire_hash(digest)) == ("4e31e1ced73eb044", 1072837495201822809)


def test_extra_keys_get_their_tags_back() -> None:
    """Events leave them out; the order stays."""
    assert tag(None, True) is None
    assert tag([], True) is None
    assert tag([["cat", -3], ["dog", 2], "salt", b"digest"], True) == (
        ("mm", "cat", -3),
        ("mm", "dog", 2),
        ("cache_salt", "salt"),
        ("prompt_embeds", b"digest"),
    )


@pytest.mark.parametrize(
    ("values", "starts"),
    [(["adapter"], False), ([["cat", 1], ["cat", 9]], True), ([7], True), ([["cat"]], True)],
)
def test_what_cannot_be_known_is_not_hashed(values: list[object], starts: bool) -> None:
    """A string that is no salt, an image twice in one block, foreign values."""
    with pytest.raises(Untaggable):
        tag(values, starts)
