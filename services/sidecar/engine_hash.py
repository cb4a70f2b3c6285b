"""vLLM's own block hashes, computed again: to check, on a sample, that events mean what we think.

    hash[i] = H((hash[i-1], tokens of block i, extra keys of block i or None))
    hash[-1] = H(seed)

H serialises, with pickle or canonical CBOR, and digests, with SHA-256 or xxh3-128. The extra keys
are tagged tuples; events carry them without their tags.

Pickle writes a reference where an object occurs a second time, so two equal strings hash
differently from the same string twice. Which it was in the engine cannot be known.
"""

import hashlib
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cbor2
import xxhash

DEFAULT_SEED = "vllm-none-hash"
SHA256 = ("sha256", "sha256_cbor")
XXHASH = ("xxhash", "xxhash_cbor")

ExtraKeys = tuple[tuple[object, ...], ...] | None


class Untaggable(Exception):
    """Extra keys of a block that cannot be told apart, or would not hash alike for sure."""


def _pickled(value: object) -> bytes:
    return pickle.dumps(value, protocol=5)


def _canonical(value: object) -> bytes:
    return cbor2.dumps(value, canonical=True)


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


_STEPS: dict[str, tuple[Callable[[object], bytes], Callable[[bytes], bytes]]] = {
    "sha256": (_pickled, _sha256),
    "sha256_cbor": (_canonical, _sha256),
    "xxhash": (_pickled, xxhash.xxh3_128_digest),
    "xxhash_cbor": (_canonical, xxhash.xxh3_128_digest),
}


@dataclass(frozen=True, slots=True)
class EngineHash:
    """One of vLLM's `--prefix-caching-hash-algo`; an empty seed is the one that SHA-256 has."""

    algorithm: str
    seed: str = ""

    def _hash(self, value: object) -> bytes:
        serialise, digest = _STEPS[self.algorithm]
        return digest(serialise(value))

    def chain(
        self, tokens: Sequence[int], block_tokens: int, extra_keys: Sequence[ExtraKeys] = ()
    ) -> list[bytes]:
        """Digests of the whole blocks of a prompt; blocks without an entry have no extra keys."""
        parent = self._hash(self.seed or DEFAULT_SEED)
        digests = []
        for block in range(len(tokens) // block_tokens):
            held = tuple(tokens[block * block_tokens : (block + 1) * block_tokens])
            parent = self._hash((parent, held, extra_keys[block] if extra_keys else None))
            digests.append(parent)
        return digests


def wire_hash(digest: bytes) -> int:
    """The low 64 bits of a digest, which is what events carry by default."""
    return int.from_bytes(digest[-8:], "big")


def tag(values: Sequence[Any] | None, starts_prompt: bool) -> ExtraKeys:
    """Extra keys of a block without an adapter, with the tags that events leave out.

    :raises Untaggable: they cannot be known for sure.
    """
    tagged: list[tuple[object, ...]] = []
    identifiers = set()
    for value in values or ():
        match value:
            case [str() as identifier, int() as offset] if identifier not in identifiers:
                identifiers.add(identifier)
                tagged.append(("mm", identifier, offset))
            case str() if starts_prompt:
                tagged.append(("cache_salt", value))
            case bytes():
                tagged.append(("prompt_embeds", value))
            case _:
                raise Untaggable
    return tuple(tagged) or None
