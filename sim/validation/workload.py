"""The workload to predict: conversations over shared prefixes, sent as a Poisson process.

It is none of the calibration's: other lengths, prefixes that several share, follow-up turns that
repeat what the engine itself answered, and more content than the cache holds.
"""

from dataclasses import dataclass

import numpy as np

from sim.validation.probes import random_tokens

REQUESTS = 170
PER_S = 5.0
_GROUPS = 8
_GROUP_TOKENS = (128, 768)
_QUESTION_TOKENS = (24, 320)
_OUTPUT_TOKENS = (8, 64)
_FOLLOW_SHARE = 0.35
_FOLLOW_AFTER_S = 2.0
_FOLLOW_WITHIN = 60
"""Requests; older conversations are over."""
_MAX_TURNS = 3


@dataclass(frozen=True, slots=True)
class Turn:
    """One request: `tokens`, behind the prompt and the answer of the turn before it."""

    at_s: float
    tokens: list[int]
    output_tokens: int
    follows: int | None
    """Number of the turn before it in this conversation."""


def conversations(
    rng: np.random.Generator, requests: int = REQUESTS, per_s: float = PER_S
) -> list[Turn]:
    """The turns of all conversations in the order of their times."""
    prefixes = [random_tokens(rng, int(n)) for n in rng.integers(*_GROUP_TOKENS, _GROUPS)]
    popularity = 1 / np.arange(1, _GROUPS + 1)
    popularity /= popularity.sum()
    turns: list[Turn] = []
    depth: list[int] = []
    open_turns: set[int] = set()
    at_s = 0.0
    for i in range(requests):
        at_s += float(rng.exponential(1 / per_s))
        follows = _pick(rng, turns, open_turns, at_s)
        question = random_tokens(rng, int(rng.integers(*_QUESTION_TOKENS)))
        if follows is None:
            question = prefixes[int(rng.choice(_GROUPS, p=popularity))] + question
            depth.append(1)
        else:
            open_turns.discard(follows)
            depth.append(depth[follows] + 1)
        turns.append(Turn(at_s, question, int(rng.integers(*_OUTPUT_TOKENS)), follows))
        if depth[i] < _MAX_TURNS:
            open_turns.add(i)
        open_turns.discard(i - _FOLLOW_WITHIN)
    return turns


def _pick(
    rng: np.random.Generator, turns: list[Turn], open_turns: set[int], at_s: float
) -> int | None:
    """The turn that a new one follows, if any: one whose answer has been read meanwhile."""
    follows = rng.random() < _FOLLOW_SHARE
    ready = [i for i in sorted(open_turns) if turns[i].at_s + _FOLLOW_AFTER_S <= at_s]
    return int(rng.choice(ready)) if follows and ready else None
