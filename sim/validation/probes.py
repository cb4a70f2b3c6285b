"""The calibration set: small experiments, each on an idle pod, in random order."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sim.tokens import FIRST_TOKEN
from sim.validation.pod import VOCABULARY

PREFILL, DECODE, MIXED = "prefill", "decode", "mixed"

_PREFILL_TOKENS = (48, 160, 320, 640, 1000, 1600, 2400)
_DECODE_BATCHES = (
    *((1, 64), (1, 1024), (2, 512), (4, 64), (4, 1024)),
    *((8, 64), (8, 512), (12, 256), (16, 64), (16, 320)),
)
_DECODE_TOKENS = 32
# Requests reach the engine in the order of sending, each after the API server has read the one
# before it.
_DECODE_SPACING_S = 0.006
_MIXED_PROBES = 6
_MIXED_REQUESTS = 10
_MIXED_PER_S = 14.0


@dataclass(frozen=True, slots=True)
class Probe:
    """Requests that are sent at their times after the start, or one after the other."""

    label: str
    prompts: tuple[list[int], ...]
    output_tokens: tuple[int, ...]
    offsets_s: tuple[float, ...] | None = None
    """None: each when the one before it has ended."""


def random_tokens(rng: np.random.Generator, count: int) -> list[int]:
    """A prompt that no other one shares a prefix with."""
    return [int(token) for token in rng.integers(FIRST_TOKEN, VOCABULARY, count)]


def calibration_round(rng: np.random.Generator) -> list[Probe]:
    """Every probe once, with new prompts, shuffled."""
    probes = [*_prefills(rng), *_decodes(rng), *_mixed(rng)]
    return [probes[i] for i in rng.permutation(len(probes))]


def _prefills(rng: np.random.Generator) -> Iterator[Probe]:
    """A cold prompt, the same again, and one that shares its first half."""
    for tokens in _PREFILL_TOKENS:
        prompt = random_tokens(rng, tokens)
        half = prompt[: tokens // 2] + random_tokens(rng, tokens - tokens // 2)
        yield Probe(PREFILL, (prompt, prompt, half), (1, 1, 1))


def _decodes(rng: np.random.Generator) -> Iterator[Probe]:
    """Requests of one length that decode together."""
    for sequences, tokens in _DECODE_BATCHES:
        yield Probe(
            DECODE,
            tuple(random_tokens(rng, tokens) for _ in range(sequences)),
            (_DECODE_TOKENS + sequences,) * sequences,
            tuple(i * _DECODE_SPACING_S for i in range(sequences)),
        )


def _mixed(rng: np.random.Generator) -> Iterator[Probe]:
    """Arrivals at random while others prefill and decode."""
    for _ in range(_MIXED_PROBES):
        gaps = rng.exponential(1 / _MIXED_PER_S, _MIXED_REQUESTS)
        yield Probe(
            MIXED,
            tuple(
                random_tokens(rng, int(tokens))
                for tokens in np.exp(rng.uniform(np.log(64), np.log(1024), _MIXED_REQUESTS))
            ),
            tuple(int(tokens) for tokens in rng.integers(4, 49, _MIXED_REQUESTS)),
            tuple(float(offset) for offset in np.cumsum(gaps) - gaps[0]),
        )
