"""The blocks of an engine in arrays: what each engine hash names, and who holds it.

Two kinds of rows, both found by open addressing:

- an entry for each engine hash that is held: the node it names, and per holding (tier and group)
  its physical copies and how many canonical blocks one copy covers;
- a node for each canonical block: its key, its parent and its position. A node is shared by all
  blocks that contain it, whatever their size, and stays while an entry or a child points to it. Per
  holding it is counted how many blocks contain it: it is held while there is one.

An entry without a node is an orphan: its key is not known.
"""

from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from farsight.keys import Keys
from services.sidecar.block_map_kernels import clear, reindex
from services.sidecar.changes import Tier

Holding = tuple[Tier, int]  # tier and group of the index

Scalar = TypeVar("Scalar", bound=np.generic)

MIN_ROWS = 1024
MAX_LENGTH = 1 << 15  # canonical blocks that one engine block or chunk may cover

BLOCKS, KEYS, ORPHANS = 0, 1, 2  # columns of `held`
ENTRIES, FREE_ENTRY, LIVE_ENTRIES, NODES, FREE_NODE, LIVE_NODES = range(6)  # of `totals`


class BlockMap(NamedTuple):
    """The arrays; E entries, N nodes, H holdings. Index slots are tag << 32 | row + 1, 0 if empty.

    Rows up to `totals[ENTRIES]` and `totals[NODES]` are or were in use; free ones are chained
    through `nodes` and `parents` from `totals[FREE_...] - 1` on.
    """

    hashes: Keys  # E
    nodes: npt.NDArray[np.int32]  # E, -2 for an orphan
    copies: npt.NDArray[np.uint32]  # E, H
    lengths: npt.NDArray[np.uint16]  # E, H
    entry_index: npt.NDArray[np.uint64]
    keys: Keys  # N
    parents: npt.NDArray[np.int32]  # N, -1 at position 0
    positions: npt.NDArray[np.int32]  # N, -1 for a free row
    uses: npt.NDArray[np.int32]  # N, entries and children
    refs: npt.NDArray[np.int32]  # N, H
    node_index: npt.NDArray[np.uint64]
    totals: npt.NDArray[np.int64]
    held: npt.NDArray[np.int64]  # H, 3
    path: npt.NDArray[np.int32]  # scratch of the kernels


class Tables(NamedTuple):
    """What the kernels know of media and groups."""

    tiers: npt.NDArray[np.int64]  # tier by medium + 1, 0 for one that is not known
    holdings: npt.NDArray[np.int32]  # by tier and engine group, -1 for none
    groups: npt.NDArray[
        np.int64
    ]  # block tokens, length of a block, length of a chunk; 0 if unknown
    seed: Keys  # of prompts without an adapter


class Settings(NamedTuple):
    """What the kernels know beside."""

    max_length: int
    unit: int
    counts_copies: bool
    max_blocks: int


class Log(NamedTuple):
    """The arrays of a ChangeLog."""

    keys: Keys
    runs: npt.NDArray[np.int64]
    used: npt.NDArray[np.int64]


def new_map(rows: int, holdings: int) -> BlockMap:
    """An empty map; arrays that are not touched take no memory."""
    entries = nodes = max(rows, MIN_ROWS)
    return BlockMap(
        np.zeros(entries, np.uint64),
        np.zeros(entries, np.int32),
        np.zeros((entries, holdings), np.uint32),
        np.zeros((entries, holdings), np.uint16),
        new_index(entries),
        np.zeros(nodes, np.uint64),
        np.zeros(nodes, np.int32),
        np.zeros(nodes, np.int32),
        np.zeros(nodes, np.int32),
        np.zeros((nodes, holdings), np.int32),
        new_index(nodes),
        np.zeros(6, np.int64),
        np.zeros((holdings, 3), np.int64),
        np.zeros(MAX_LENGTH, np.int32),
    )


def new_index(rows: int) -> npt.NDArray[np.uint64]:
    """Empty slots for so many rows, at most 2/3 of them taken."""
    return np.zeros(1 << (rows + rows // 2 - 1).bit_length(), np.uint64)


def widened(blocks: BlockMap, holdings: int) -> BlockMap:
    """The same map with room for more holdings."""

    def wider(array: npt.NDArray[Scalar], used: int) -> npt.NDArray[Scalar]:
        wide = np.zeros((array.shape[0], holdings), array.dtype)
        wide[:used, : array.shape[1]] = array[:used]
        return wide

    held = np.zeros((holdings, 3), np.int64)
    held[: blocks.held.shape[0]] = blocks.held
    entries, nodes = int(blocks.totals[ENTRIES]), int(blocks.totals[NODES])
    return blocks._replace(
        copies=wider(blocks.copies, entries),
        lengths=wider(blocks.lengths, entries),
        refs=wider(blocks.refs, nodes),
        held=held,
    )


def reserve(blocks: BlockMap, entries: int, nodes: int) -> BlockMap:
    """A map with room for so many more rows: the same one, or a copy that is twice as large."""
    totals = blocks.totals
    wanted = int(totals[LIVE_ENTRIES]) + entries
    if wanted > blocks.hashes.size:
        rows, used = max(2 * blocks.hashes.size, wanted), int(totals[ENTRIES])
        blocks = blocks._replace(
            hashes=_longer(blocks.hashes, used, rows),
            nodes=_longer(blocks.nodes, used, rows),
            copies=_longer(blocks.copies, used, rows),
            lengths=_longer(blocks.lengths, used, rows),
            entry_index=_larger(blocks.entry_index, rows),
        )
    wanted = int(totals[LIVE_NODES]) + nodes
    if wanted > blocks.keys.size:
        rows, used = max(2 * blocks.keys.size, wanted), int(totals[NODES])
        blocks = blocks._replace(
            keys=_longer(blocks.keys, used, rows),
            parents=_longer(blocks.parents, used, rows),
            positions=_longer(blocks.positions, used, rows),
            uses=_longer(blocks.uses, used, rows),
            refs=_longer(blocks.refs, used, rows),
            node_index=_larger(blocks.node_index, rows),
        )
    return blocks


def is_crowded(blocks: BlockMap) -> bool:
    """More than 3/4 of the rows are taken: `grown` is due, so that no batch has to wait for it."""
    entries, nodes = int(blocks.totals[LIVE_ENTRIES]), int(blocks.totals[LIVE_NODES])
    return 4 * entries > 3 * blocks.hashes.size or 4 * nodes > 3 * blocks.keys.size


def grown(blocks: BlockMap) -> BlockMap:
    """A map with half of its rows free; pure, and lets other threads run."""
    totals = blocks.totals
    return reserve(blocks, int(totals[LIVE_ENTRIES]), int(totals[LIVE_NODES]))


def _longer(array: npt.NDArray[Scalar], used: int, rows: int) -> npt.NDArray[Scalar]:
    """A copy of the used rows with zeros behind them."""
    grown = np.zeros((rows, *array.shape[1:]), array.dtype)
    grown[:used] = array[:used]
    return grown


def _larger(index: npt.NDArray[np.uint64], rows: int) -> npt.NDArray[np.uint64]:
    larger = new_index(rows)
    reindex(index, larger)
    return larger


def clear_holdings(blocks: BlockMap, holdings: npt.NDArray[np.bool_]) -> BlockMap:
    """A map without what the flagged holdings have; at once when nobody else has anything."""
    if not blocks.held[~holdings, BLOCKS].any():
        return new_map(blocks.hashes.size, blocks.held.shape[0])
    clear(blocks, holdings)
    return blocks


def memory_bytes(blocks: BlockMap) -> int:
    """Bytes of all arrays, touched or not."""
    return sum(array.nbytes for array in blocks)
