"""Prompts that every endpoint holds in part, each to a depth of its own: the hardest to match."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.index.workload import DELTA_BLOCKS, Delta, random_keys
from farsight.keys import Keys


@dataclass(frozen=True, slots=True)
class Prompts:
    """`keys` has a row for each prompt; `depths` says how many blocks of it each endpoint holds."""

    keys: npt.NDArray[np.uint64]
    depths: npt.NDArray[np.int64]

    def deltas(self) -> Iterator[Delta]:
        """What the endpoints have stored, in deltas of DELTA_BLOCKS keys at most."""
        for prompt, depths in zip(self.keys, self.depths, strict=True):
            for slot, depth in enumerate(depths.tolist()):
                yield from _held(slot, prompt[:depth])

    def contents(self, slot: int) -> tuple[Keys, npt.NDArray[np.int64]]:
        """An endpoint's keys in the order of their positions, and the number at each position."""
        depths = self.depths[:, slot]
        counts = (np.arange(int(depths.max()))[:, None] < depths).sum(axis=1)
        rows = [self.keys[depths > position, position] for position in range(counts.size)]
        return np.concatenate([np.empty(0, np.uint64), *rows]), counts


def _held(slot: int, keys: Keys) -> Iterator[Delta]:
    for at in range(0, keys.size, DELTA_BLOCKS):
        yield Delta(slot, keys[at : at + DELTA_BLOCKS], at, int(keys[at - 1]) if at else 0)


def build(count: int, blocks: int, endpoints: int, seed: int = 2) -> Prompts:
    """Random prompts; depths are uniform from 0 to all blocks."""
    random = np.random.default_rng(seed)
    keys = random_keys(random, count * blocks).reshape(count, blocks)
    return Prompts(keys, random.integers(0, blocks + 1, (count, endpoints)))
