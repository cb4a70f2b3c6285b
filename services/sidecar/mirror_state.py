"""A mirror as data, to be stored and gone on with: packed arrays, bounded and checked.

What can be derived is not stored: positions, reference counts and indexes are made anew, so that a
state cannot contradict itself. A checksum stands before it, because damaged keys look like any
others.
"""

import zlib
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct

from farsight.errors import BadRecord
from services.sidecar.block_map import (
    ENTRIES,
    LIVE_ENTRIES,
    LIVE_NODES,
    MAX_LENGTH,
    NODES,
    BlockMap,
    Holding,
    new_map,
)
from services.sidecar.changes import Tier
from services.sidecar.event_kernels import MAX_BLOCK_TOKENS
from services.sidecar.held_kernels import (
    export_entries,
    export_nodes,
    restore_entries,
    restore_nodes,
)
from services.sidecar.kv_groups import MAX_GROUPS, Group, NotIndexed, Rule

FORMAT = 1
MAX_BYTES = 512 * 1024 * 1024
MAX_HOLDINGS = len(Tier) * MAX_GROUPS
_HEAD_BYTES = 5

Text = Annotated[str, Meta(max_length=4096)]
Number = Annotated[int, Meta(ge=0, lt=MAX_GROUPS)]
IndexGroup = Annotated[int, Meta(ge=0, le=MAX_GROUPS)]
BlockTokens = Annotated[int, Meta(ge=1, le=MAX_BLOCK_TOKENS)]


class GroupState(Struct, frozen=True, array_like=True):
    """A KV group by the engine's number; one that is not indexed has only a reason."""

    number: Number
    not_indexed: NotIndexed | None
    index_group: IndexGroup = 0
    rule: Rule = Rule.PREFIX
    block_tokens: BlockTokens = 1
    window_tokens: Annotated[int, Meta(ge=0, le=1 << 40)] = 0


class HoldingState(Struct, frozen=True, array_like=True):
    """A column of the copies and lengths."""

    tier: Tier
    group: IndexGroup


class MirrorState(Struct, frozen=True, array_like=True):
    """A mirror: the layout it was made with, its groups, and the rows of its block map, packed."""

    model_fingerprint: Text
    block_tokens: BlockTokens
    key_block_tokens: BlockTokens
    count_copies: bool
    chunk_blocks: Annotated[int, Meta(ge=1, le=MAX_LENGTH)]
    lost: Text
    unsupported: Text
    too_fine: bool
    host_used: bool
    groups: Annotated[list[GroupState], Meta(max_length=MAX_GROUPS)]
    holdings: Annotated[list[HoldingState], Meta(min_length=1, max_length=MAX_HOLDINGS)]
    hashes: bytes
    nodes: bytes
    copies: bytes
    lengths: bytes
    keys: bytes
    parents: bytes

    @property
    def block_count(self) -> int:
        """Engine blocks, whatever holds them."""
        return len(self.hashes) // 8


_decoder = msgspec.msgpack.Decoder(MirrorState)


def encode(state: MirrorState) -> bytes:
    """A state as bytes: format, checksum, and the state as msgpack."""
    body = msgspec.msgpack.encode(state)
    return bytes((FORMAT,)) + zlib.crc32(body).to_bytes(4, "big") + body


def decode(data: bytes) -> MirrorState:
    """The opposite.

    :raises BadRecord: it is too large, of another format, damaged or out of bounds.
    """
    if not _HEAD_BYTES < len(data) <= MAX_BYTES:
        raise BadRecord(f"mirror state: {len(data)} bytes, at most {MAX_BYTES}")
    if data[0] != FORMAT:
        raise BadRecord(f"mirror state: format {data[0]}, expected {FORMAT}")
    body = memoryview(data)[_HEAD_BYTES:]
    if zlib.crc32(body) != int.from_bytes(data[1:_HEAD_BYTES], "big"):
        raise BadRecord("mirror state: its checksum does not fit")
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(f"mirror state: {error}") from error


def group_states(groups: dict[int, Group | NotIndexed]) -> list[GroupState]:
    """Groups as data."""
    return [
        GroupState(number, group)
        if isinstance(group, NotIndexed)
        else GroupState(
            number,
            None,
            group.index_group,
            group.rule,
            group.block_tokens,
            group.window_tokens,
        )
        for number, group in groups.items()
    ]


def groups_of(state: MirrorState) -> dict[int, Group | NotIndexed]:
    """The opposite of `group_states`.

    :raises BadRecord: two have one number, or blocks do not fit the canonical block.
    """
    groups: dict[int, Group | NotIndexed] = {}
    index_groups = set()
    for told in state.groups:
        fits = told.not_indexed is not None or told.block_tokens % state.key_block_tokens == 0
        if told.number in groups or not fits:
            raise BadRecord(f"mirror state: group {told.number}")
        group = Group(told.index_group, told.rule, told.block_tokens, told.window_tokens)
        groups[told.number] = told.not_indexed or group
        if told.not_indexed is None and told.index_group in index_groups:
            raise BadRecord(f"mirror state: index group {told.index_group} twice")
        index_groups.add(told.index_group if told.not_indexed is None else -1)
    return groups


def holdings_of(state: MirrorState) -> list[Holding]:
    """Tier and group of each column.

    :raises BadRecord: one is there twice, or the first is not the device's group 0.
    """
    holdings = [(held.tier, held.group) for held in state.holdings]
    if len(set(holdings)) != len(holdings) or holdings[0] != (Tier.DEVICE, 0):
        raise BadRecord("mirror state: holdings")
    return holdings


def packed(blocks: BlockMap) -> tuple[bytes, bytes, bytes, bytes, bytes, bytes]:
    """Hashes, nodes, copies, lengths, keys and parents; takes some 50 ns a block."""
    keys, parents, numbers = export_nodes(blocks)
    arrays = (*export_entries(blocks, numbers), keys, parents)
    hashes, nodes, copies, lengths, keys, parents = (array.tobytes() for array in arrays)
    return hashes, nodes, copies, lengths, keys, parents


def block_map_of(state: MirrorState, rows: int, max_length: int) -> BlockMap:
    """The block map with room for at least `rows`.

    :param max_length: canonical blocks that one engine block or chunk may cover.
    :raises BadRecord: the arrays do not describe one.
    """
    width, entries, nodes = len(state.holdings), state.block_count, len(state.keys) // 8
    fields = (
        ("hashes", state.hashes, (entries,)),
        ("nodes", state.nodes, (entries,)),
        ("copies", state.copies, (entries, width)),
        ("lengths", state.lengths, (entries, width)),
        ("keys", state.keys, (nodes,)),
        ("parents", state.parents, (nodes,)),
    )
    blocks = new_map(max(rows, entries, nodes), width)
    for name, data, shape in fields:
        array = getattr(blocks, name)
        if len(data) != int(np.prod(shape)) * array.itemsize:
            raise BadRecord(f"mirror state: {len(data)} bytes of {name}")
        array[: shape[0]] = np.frombuffer(data, array.dtype).reshape(shape)
    blocks.totals[[ENTRIES, LIVE_ENTRIES]] = entries
    blocks.totals[[NODES, LIVE_NODES]] = nodes
    if not restore_nodes(blocks) or not restore_entries(blocks, max_length):
        raise BadRecord("mirror state: blocks that cannot be")
    return blocks
