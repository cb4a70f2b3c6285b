"""Conversations as a fleet's caches hold them: the blocks of every table, in the order they come.

A conversation begins with one of a few system prompts, of SYSTEM_BLOCKS blocks and picked by Zipf's
law, and has 1 to MAX_TURNS turns of TURN_BLOCKS blocks. It stays on one endpoint; MOVED_SHARE of
them are continued on a second one, which then holds the whole conversation too. An endpoint stores
a system prompt once. Thousands of conversations are under way at the same time. With 5 M blocks on
64 endpoints, a block has 1.23 holders on average, and 31 % of what is held is held elsewhere too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farsight.keys import Keys

DELTA_BLOCKS = 64
SYSTEM_BLOCKS = TURN_BLOCKS = DELTA_BLOCKS
MAX_TURNS = 8
MOVED_SHARE = 0.15
BLOCKS_A_SYSTEM_PROMPT = 20_000
_UNDER_WAY = 4_000
_NONE = -1

_DELTA = np.dtype(
    [("slot", np.int32), ("position", np.int32), ("start", np.int64), ("parent", np.int64)]
)


@dataclass(frozen=True, slots=True)
class Delta:
    """An endpoint stores the blocks from `position` of a prompt on; `parent` 0: no block before."""

    slot: int
    keys: Keys
    position: int
    parent: int


class Workload:
    """Deltas of DELTA_BLOCKS keys over the endpoint slots; `keys` holds each distinct key once."""

    def __init__(self, keys: Keys, deltas: npt.NDArray[np.void]) -> None:
        self.keys = keys
        self._deltas = deltas

    def __len__(self) -> int:
        return int(self._deltas.size)

    @property
    def held_blocks(self) -> int:
        """Pairs of block and endpoint at the end."""
        return len(self) * DELTA_BLOCKS

    @property
    def shared_ratio(self) -> float:
        """Share of those pairs whose block another endpoint holds too."""
        _, which, holders = np.unique(
            self._deltas["start"], return_inverse=True, return_counts=True
        )
        return float((holders[which] > 1).mean())

    def first(self, held_blocks: int) -> "Workload":
        """The beginning, with so many pairs of block and endpoint."""
        return Workload(self.keys, self._deltas[: held_blocks // DELTA_BLOCKS])

    def chunks(self, size: int) -> Iterator[list[Delta]]:
        """All deltas in order, `size` at a time."""
        for at in range(0, len(self), size):
            yield [self._delta(row) for row in self._deltas[at : at + size].tolist()]

    def _delta(self, row: tuple[int, int, int, int]) -> Delta:
        slot, position, start, parent = row
        before = 0 if parent == _NONE else int(self.keys[parent])
        return Delta(slot, self.keys[start : start + DELTA_BLOCKS], position, before)

    def contents(self, slot: int) -> tuple[Keys, npt.NDArray[np.int64]]:
        """An endpoint's keys in the order of their positions, and the number at each position."""
        own = self._deltas[self._deltas["slot"] == slot]
        step = np.arange(DELTA_BLOCKS)
        positions = (own["position"][:, None] + step).ravel()
        keys = self.keys[(own["start"][:, None] + step).ravel()]
        return keys[np.argsort(positions, kind="stable")], np.bincount(positions)


def random_keys(random: np.random.Generator, count: int) -> Keys:
    """Keys as a hash makes them."""
    return random.integers(1, 1 << 64, count, np.uint64)


def build(distinct_blocks: int, endpoints: int, seed: int = 1) -> Workload:
    """A workload of about so many distinct blocks."""
    random = np.random.default_rng(seed)
    system_prompts = max(1, distinct_blocks // BLOCKS_A_SYSTEM_PROMPT)
    turns = _turns(random, distinct_blocks, system_prompts, endpoints)
    rows: list[tuple[int, int, int, int]] = []
    stored: set[tuple[int, int]] = set()
    for slot, system, first, turn in turns:
        if (slot, system) not in stored:
            stored.add((slot, system))
            rows.append((slot, 0, system * SYSTEM_BLOCKS, _NONE))
        start = first + turn * TURN_BLOCKS
        parent = start - 1 if turn else (system + 1) * SYSTEM_BLOCKS - 1
        rows.append((slot, SYSTEM_BLOCKS + turn * TURN_BLOCKS, start, parent))
    used = max(start for _, _, start, _ in rows) + DELTA_BLOCKS
    return Workload(random_keys(random, used), np.array(rows, _DELTA))


def _turns(
    random: np.random.Generator, distinct_blocks: int, system_prompts: int, endpoints: int
) -> list[tuple[int, int, int, int]]:
    """(slot, system prompt, first key of the conversation, turn), as they come."""
    weights = 1 / np.arange(1, system_prompts + 1)
    weights /= weights.sum()
    timed: list[tuple[float, int, int, int, int]] = []
    first, conversation = system_prompts * SYSTEM_BLOCKS, 0
    while first < distinct_blocks:
        count = int(random.integers(1, MAX_TURNS + 1))
        system = int(random.choice(system_prompts, p=weights))
        pauses = random.random(2 * count) * _UNDER_WAY / MAX_TURNS
        times = conversation + np.cumsum(pauses)
        holders = random.choice(endpoints, 2, replace=False)
        for copy in range(1 + (random.random() < MOVED_SHARE)):
            slot = int(holders[copy])
            own = times[copy * count : (copy + 1) * count]
            timed += [(float(at), slot, system, first, turn) for turn, at in enumerate(own)]
        first += count * TURN_BLOCKS
        conversation += 1
    timed.sort()
    return [row[1:] for row in timed]
