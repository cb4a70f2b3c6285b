"""Token ids without a text: a piece of content is a seed and a length.

Equal pieces give equal tokens on every machine, different seeds share no prefix. So a workload says
what is shared with two integers instead of megabytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit

from farsight.keys import Tokens

# Ids below are special tokens of most vocabularies.
FIRST_TOKEN = 16
VOCABULARY = 100_000


@dataclass(frozen=True, slots=True)
class Piece:
    """`length_tokens` tokens of the content that `seed` names."""

    seed: int
    length_tokens: int


@njit(cache=True, nogil=True)
def _write(out, seed):  # type: ignore[no-untyped-def] # a Numba kernel
    """SplitMix64 (Steele et al., OOPSLA 2014) in counter mode, folded into the vocabulary."""
    for i in range(out.size):
        z = seed + np.uint64(i + 1) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
        out[i] = np.uint32(FIRST_TOKEN) + np.uint32(z % np.uint64(VOCABULARY - FIRST_TOKEN))


def tokens_of(pieces: Sequence[Piece]) -> Tokens:
    """The tokens of some pieces, one after the other."""
    out = np.empty(sum(piece.length_tokens for piece in pieces), np.uint32)
    at = 0
    for piece in pieces:
        _write(out[at : at + piece.length_tokens], np.uint64(piece.seed))
        at += piece.length_tokens
    return out


@lru_cache(maxsize=1024)
def shared_tokens(pieces: tuple[Piece, ...]) -> Tokens:
    """The same, remembered: what many sessions begin with. Not to be written to."""
    tokens = tokens_of(pieces)
    tokens.flags.writeable = False
    return tokens
