"""Block keys: one 64-bit key per KV block, chained, equal at the sidecar and at the router.

    key[i] = XXH64(tokens[i*B:(i+1)*B] as uint32 little-endian, seed = key[i-1] ^ extra[i])
    key[-1] = seed_of(namespace)

`extra[i]` is 0, or XXH64 of what the engine hashes beside the tokens of that block (cache salt on
block 0, multimodal items). A key of 0 is stored as 1, because 0 marks an empty table slot. Any
XXH64 library makes the same keys (https://github.com/Cyan4973/xxHash, specification of XXH64); the
golden vectors in the tests come from one.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numba import njit

from farsight.errors import InvalidField

Keys = npt.NDArray[np.uint64]
Tokens = npt.NDArray[np.uint32]

CANONICAL_BLOCK_TOKENS = 16
MAX_KEYS = 1 << 20

_P1 = np.uint64(0x9E3779B185EBCA87)
_P2 = np.uint64(0xC2B2AE3D27D4EB4F)
_P3 = np.uint64(0x165667B19E3779F9)
_P4 = np.uint64(0x85EBCA77C2B2AE63)
_P5 = np.uint64(0x27D4EB2F165667C5)


@njit(inline="always")
def _rotl(value, bits):  # type: ignore[no-untyped-def] # a Numba kernel
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


@njit(inline="always")
def _round(lane, word):  # type: ignore[no-untyped-def] # a Numba kernel
    return _rotl(lane + word * _P2, 31) * _P1


@njit(inline="always")
def _merge(digest, lane):  # type: ignore[no-untyped-def] # a Numba kernel
    return (digest ^ _round(np.uint64(0), lane)) * _P1 + _P4


@njit(inline="always")
def _word(tokens, at):  # type: ignore[no-untyped-def] # a Numba kernel
    return np.uint64(tokens[at]) | (np.uint64(tokens[at + 1]) << np.uint64(32))


@njit(cache=True, nogil=True)
def _xxh64(tokens, start, count, seed):  # type: ignore[no-untyped-def] # a Numba kernel
    """XXH64 of `count` uint32 values from `start`."""
    at = start
    end = start + count
    if count >= 8:
        a = seed + _P1 + _P2
        b = seed + _P2
        c = seed
        d = seed - _P1
        while at + 8 <= end:
            a = _round(a, _word(tokens, at))
            b = _round(b, _word(tokens, at + 2))
            c = _round(c, _word(tokens, at + 4))
            d = _round(d, _word(tokens, at + 6))
            at += 8
        digest = _rotl(a, 1) + _rotl(b, 7) + _rotl(c, 12) + _rotl(d, 18)
        digest = _merge(_merge(_merge(_merge(digest, a), b), c), d)
    else:
        digest = seed + _P5
    digest += np.uint64(count * 4)
    while at + 2 <= end:
        digest = _rotl(digest ^ _round(np.uint64(0), _word(tokens, at)), 27) * _P1 + _P4
        at += 2
    if at < end:
        digest = _rotl(digest ^ (np.uint64(tokens[at]) * _P1), 23) * _P2 + _P3
    digest = (digest ^ (digest >> np.uint64(33))) * _P2
    digest = (digest ^ (digest >> np.uint64(29))) * _P3
    return digest ^ (digest >> np.uint64(32))


@njit(cache=True, nogil=True)
def block_key(parent, tokens, start, count, extra):  # type: ignore[no-untyped-def] # a Numba kernel
    """Key of the block of `count` tokens from `start`, for kernels: golden vectors fix it."""
    key = _xxh64(tokens, start, count, parent ^ extra)
    return key if key != np.uint64(0) else np.uint64(1)


@njit(cache=True, nogil=True)
def _chain(seed, tokens, block, extras, out):  # type: ignore[no-untyped-def] # a Numba kernel
    parent = seed
    for i in range(out.size):
        extra = extras[i] if i < extras.size else np.uint64(0)
        parent = block_key(parent, tokens, i * block, block, extra)
        out[i] = parent


_NO_EXTRAS = np.empty(0, np.uint64)


def _hash_bytes(data: bytes) -> int:
    """XXH64 of bytes, zero-padded to 4, with their length as the seed."""
    padded = np.frombuffer(data + b"\0" * (-len(data) % 4), "<u4")
    return int(_xxh64(padded, 0, padded.size, np.uint64(len(data))))


def seed_of(model_fingerprint: str, lora: str, block_tokens: int) -> int:
    """Seed of a namespace: blocks of different models, adapters or block sizes never share keys."""
    parts = (model_fingerprint.encode(), lora.encode(), str(block_tokens).encode())
    return _hash_bytes(b"".join(len(p).to_bytes(4, "little") + p for p in parts))


def extra_of(parts: Sequence[bytes]) -> int:
    """Extra of a block from what the engine hashes beside its tokens; 0 when there is nothing."""
    if not parts:
        return 0
    return _hash_bytes(b"".join(len(p).to_bytes(4, "little") + p for p in parts))


def chain(seed: int, tokens: Tokens, block_tokens: int, extras: Keys | None = None) -> Keys:
    """Keys of the whole blocks of `tokens`.

    :param seed: `seed_of` for the start of a prompt, or the key of the block before `tokens`.
    :param extras: extra of each block; missing ones are 0.
    :returns: uint64 array of `len(tokens) // block_tokens` keys.
    """
    out = np.empty(tokens.size // block_tokens, np.uint64)
    _chain(
        np.uint64(seed),
        np.ascontiguousarray(tokens, np.uint32),
        block_tokens,
        _NO_EXTRAS if extras is None else extras,
        out,
    )
    return out


def warm() -> None:
    """Compile or load the kernels, for tokens of our own and tokens in received bytes."""
    extras = np.array([extra_of([b"warm"])], np.uint64)
    for tokens in (np.zeros(1, np.uint32), np.frombuffer(bytes(4), np.uint32)):
        chain(0, tokens, 1, extras)


def pack(keys: Keys) -> bytes:
    """Keys as little-endian bytes, 8 each."""
    return keys.astype("<u8", copy=False).tobytes()


def unpack(data: bytes, field: str, max_keys: int = MAX_KEYS) -> Keys:
    """Keys from little-endian bytes.

    :raises InvalidField: the length is no multiple of 8, there are more than `max_keys`, or a key
        is 0.
    """
    if len(data) % 8 or len(data) // 8 > max_keys:
        raise InvalidField(
            field, f"8 bytes a key and at most {max_keys} keys, not {len(data)} bytes"
        )
    keys = np.frombuffer(data, "<u8")
    if np.count_nonzero(keys) != keys.size:
        raise InvalidField(field, "no key 0")
    return keys
