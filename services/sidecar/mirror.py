"""The exact mirror of one engine rank's KV cache: which blocks it holds, under which block keys.

An engine names a block by its own hash, and announces physical copies one by one, per tier and KV
group. The mirror keeps the key of each block and counts the copies: only the first copy and the
last removal change what the endpoint holds. On shared storage there are no copies: a file is
announced again whenever it is found to exist. See block_map.py for the arrays, kv_groups.py for the
groups.

Hashes are content addresses within one life of an engine, so a hash that is known on any tier or in
any group has the same key everywhere. A block whose key cannot be known is an orphan: its removal
is understood, and it gets its key as soon as any announcement of its hash tells it. Orphans are

- what is chained to an unknown parent;
- spans with holes, whose tokens cannot be told apart by block (sliding windows, recurrent states);
- announcements without tokens, as offloading makes them, of a hash that is not known. They stand
  for a chunk of blocks that ends with that hash.

A partial block, a part of a block that a prefix may end in, is held from its block's start when its
parent is known, and left out otherwise: the index then says less than the engine holds.

The mirror is whole, and its endpoint EXACT, when `reason` is empty. What takes it away, and what
gives it back:

- `lose` (undecodable events, a replay that does not reach back, a gap that stays): history is
  missing, until losses.py says that it does not matter any more, or for the life of the mirror.
- `orphan-blocks` on device or host: until the orphans are removed or their keys become known.
  Orphans on shared storage only understate it and do not count.
- `kv-group`: a group of a kind whose hits no rule of the index describes. `block-size`: blocks that
  are no multiple of the canonical block. `mirror-full`: more blocks on device or host than may be
  mirrored; on shared storage, which is never emptied, those past the limit are only left out.
  Each for the life of the mirror.
"""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from farsight.errors import BadRecord
from farsight.keys import Keys, seed_of
from services.sidecar import block_map_kernels as kernels
from services.sidecar import mirror_state
from services.sidecar.block_map import (
    BLOCKS,
    KEYS,
    MAX_LENGTH,
    ORPHANS,
    Holding,
    Log,
    Settings,
    Tables,
    clear_holdings,
    grown,
    is_crowded,
    memory_bytes,
    new_map,
    reserve,
    widened,
)
from services.sidecar.changes import ChangeLog, Tier
from services.sidecar.event_rows import MEDIUMS, SPEC_KINDS
from services.sidecar.events import Batch
from services.sidecar.extras import fold
from services.sidecar.held_kernels import announce, held_keys
from services.sidecar.holding import HeldKeys
from services.sidecar.kv_groups import MAX_GROUPS, Group, KvGroupRule, KvGroups, NotIndexed, Rule
from services.sidecar.losses import Losses
from services.sidecar.mirror_state import HoldingState, MirrorState

TIER_OF_MEDIUM = {
    "": Tier.DEVICE,
    "GPU": Tier.DEVICE,
    "CPU": Tier.HOST,
    "CPU_TIER1": Tier.HOST,
    "CPU_TIER2": Tier.HOST,
    "STORAGE": Tier.STORAGE,
}
_TIERS = np.array([0, *(TIER_OF_MEDIUM[medium] for medium in MEDIUMS)], np.int64)
_KINDS = (*SPEC_KINDS, "unknown")
_IGNORED = {
    kernels.MEDIUM: "medium",
    kernels.UNKNOWN_REMOVAL: "unknown-removal",
    kernels.ORPHAN: "orphan",
    kernels.PARTIAL: "partial-block",
    kernels.FULL: "mirror-full",
    kernels.STORAGE_FULL: "storage-full",
}
_seed_of = lru_cache(4096)(seed_of)
_NO_EXTRAS = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """How an engine's blocks become block keys; `block_tokens` is a multiple of the other."""

    model_fingerprint: str
    block_tokens: int
    key_block_tokens: int


class Mirror:
    """Owned and changed by one task.

    :param max_blocks: engine blocks on one tier, all groups together.
    :param count_copies: False for engines that announce reused blocks again
        (`kv_cache_report_mode` full), where a second announcement is no second copy.
    :param offload_chunk_blocks: blocks of a group in one offloaded chunk.
    :param drops_last_block: the engine recomputes the last block of a hit (EAGLE, MTP).
    :param expected_blocks: canonical blocks with room from the start; growing stops everything.
    :param pool_blocks: device blocks that the engine can cache in; 0 when that is not known.
    """

    def __init__(
        self,
        layout: BlockLayout,
        *,
        max_blocks: int = 4_000_000,
        count_copies: bool = True,
        offload_chunk_blocks: int = 1,
        drops_last_block: bool = False,
        expected_blocks: int = 1 << 16,
        pool_blocks: int = 0,
    ) -> None:
        self._layout = layout
        self._chunk_blocks = offload_chunk_blocks
        self._groups = KvGroups(layout.key_block_tokens, drops_last_block=drops_last_block)
        self._holdings: list[Holding] = [(Tier.DEVICE, 0)]
        self._blocks = new_map(expected_blocks, len(self._holdings))
        seed = _seed_of(layout.model_fingerprint, "", layout.key_block_tokens)
        self._tables = Tables(
            _TIERS,
            np.full((len(Tier) + 1, MAX_GROUPS + 1), -1, np.int32),
            np.zeros((MAX_GROUPS, 3), np.int64),
            np.array([seed], np.uint64),
        )
        self._settings = Settings(1, layout.key_block_tokens, count_copies, max_blocks)
        self._counts = np.zeros(kernels.HOST_USED + 1, np.int64)
        self._losses = Losses(pool_blocks)
        self._unsupported = ""
        self._too_fine = False
        self._ignored: Counter[str] = Counter()

    @property
    def reason(self) -> str:
        """Why the mirror may differ from the cache; empty when it does not."""
        if self._losses.reason or self._unsupported:
            return self._losses.reason or self._unsupported
        orphans = zip(self._holdings, self._blocks.held[:, ORPHANS].tolist(), strict=True)
        if any(count for (tier, _), count in orphans if tier is not Tier.STORAGE):
            return "orphan-blocks"
        if self._too_fine and not len(self._groups):
            return "block-size"
        return ""

    @property
    def block_count(self) -> int:
        """Keys held, over all tiers and groups."""
        return int(self._blocks.held[:, KEYS].sum())

    @property
    def kv_groups(self) -> tuple[KvGroupRule, ...]:
        """Rules of the groups beside group 0."""
        return self._groups.rules

    @property
    def without_prefix_group(self) -> bool:
        """No group needs every block of a prefix: group 0 is empty."""
        return self._groups.without_prefix_group

    @property
    def is_crowded(self) -> bool:
        """`make_room` is due, so that no batch has to wait for it."""
        return is_crowded(self._blocks)

    def make_room(self) -> None:
        """Enlarge the arrays; some 100 ns a block, on the terms of `contents`."""
        self._blocks = grown(self._blocks)

    @property
    def memory_bytes(self) -> int:
        """Size of the arrays, touched or not."""
        return memory_bytes(self._blocks)

    def held_count(self, tier: Tier) -> int:
        """Keys held on a tier, over all groups."""
        held = zip(self._holdings, self._blocks.held[:, KEYS].tolist(), strict=True)
        return sum(count for (held_tier, _), count in held if held_tier is tier)

    def contents(self) -> list[HeldKeys]:
        """A copy of all that is held; takes about 10 ns a key and lets other threads run.

        Nobody may change the mirror meanwhile.
        """
        return [
            HeldKeys(tier, group, *held_keys(self._blocks, h))
            for h, (tier, group) in enumerate(self._holdings)
            if self._blocks.held[h, KEYS]
        ]

    def announce(self, log: ChangeLog) -> None:
        """Note all that is held as stored; as long as `contents`, and on the same terms."""
        log.name(self._holdings)
        log.grow(self.block_count)
        for h in range(len(self._holdings)):
            announce(self._blocks, Log(log.keys, log.runs, log.used), h)

    def lose(self, reason: str) -> None:
        """Part of the history is missing; the first reason stays."""
        self._losses.lose(reason, int(self._blocks.held[0, BLOCKS]))

    def take_ignored(self) -> Counter[str]:
        """What was left out since the last call, by reason."""
        ignored, self._ignored = self._ignored, Counter()
        return ignored

    def apply(self, batch: Batch, log: ChangeLog) -> None:
        """Follow the events of a batch; what changes goes to `log`."""
        rows, units = batch.rows, batch.tokens.size // self._settings.unit
        self._blocks = reserve(self._blocks, batch.hashes.size, units)
        plans = np.zeros(rows.size, kernels.PLAN)
        values = batch.hashes, batch.tokens, self._fold(batch, plans)
        log.name(self._holdings)
        cursor = np.zeros(2, np.int64)
        while True:
            out = Log(log.keys, log.runs, log.used)
            tables, settings = self._tables, self._settings
            stopped = kernels.apply(
                self._blocks, out, rows, plans, values, tables, cursor, self._counts, settings
            )
            if stopped == kernels.DONE:
                break
            if stopped == kernels.NEEDS_PLAN:
                self._plan(batch, plans, int(cursor[0]))
            elif stopped == kernels.NEEDS_ROOM:
                log.grow((len(self._holdings) + 1) * settings.max_length)
            else:
                self._clear(log)
                cursor[:] = cursor[0] + 1, 0
        self._take_counts()
        self._losses.look(self._blocks, len(self._groups), bool(self._counts[kernels.HOST_USED]))

    def _take_counts(self) -> None:
        if self._counts[kernels.FULL]:
            self._unsupported = self._unsupported or "mirror-full"
        for index, name in _IGNORED.items():
            if count := int(self._counts[index]):
                self._ignored[name] += count
                self._counts[index] = 0

    def _clear(self, log: ChangeLog) -> None:
        is_device = np.array([tier is Tier.DEVICE for tier, _ in self._holdings])
        self._blocks = clear_holdings(self._blocks, is_device)
        self._losses.clear(bool(self._counts[kernels.HOST_USED]))
        log.clear(0)

    def _fold(self, batch: Batch, plans: npt.NDArray[np.void]) -> Keys:
        """Extras of the canonical blocks of all dense spans that have any."""
        folded = [_NO_EXTRAS]
        at = 0
        for i, beside in batch.beside.items():
            row, unit = batch.rows[i], self._settings.unit
            size = int(row["block_tokens"])
            is_dense = 0 < row["hashes"] * size == row["tokens"] and row["extras"] == row["hashes"]
            if not is_dense or size % unit:
                continue
            starts_prompt = not row["has_parent"]
            extras = fold(beside.extra_keys, beside.lora_name, starts_prompt, size, unit)
            if extras is not None:
                plans[i]["first_extra"], plans[i]["extras"] = at, extras.size
                at += extras.size
                folded.append(extras)
        return folded[0] if len(folded) == 1 else np.concatenate(folded)

    def _plan(self, batch: Batch, plans: npt.NDArray[np.void], i: int) -> None:
        """Say what to do with a stored span that the tables do not know."""
        row, plan = batch.rows[i], plans[i]
        plan["state"] = kernels.SKIP
        group = self._group_of(row)
        if group is None:
            return
        number, size, unit = int(row["group"]), int(row["block_tokens"]), self._settings.unit
        if size != self._layout.block_tokens:
            self._losses.see_shared_block()
        inner, chunk = self._know(number, group)
        plan["holding"] = self._holding(Tier(_TIERS[row["medium"] + 1]), group, number)
        plan["length"] = inner if size else chunk
        if 0 < size < group.block_tokens:
            plan["length"] = -1 if group.rule is Rule.CHECKPOINT else -(group.block_tokens // unit)
        lora_name = batch.beside[i].lora_name if i in batch.beside else ""
        plan["seed"] = _seed_of(self._layout.model_fingerprint, lora_name, unit)
        plan["state"] = kernels.PLANNED

    def _group_of(self, row: npt.NDArray[np.void]) -> Group | None:
        """The group that a stored span belongs to; None when it is left out."""
        size, unit, number = int(row["block_tokens"]), self._settings.unit, int(row["group"])
        kind = _KINDS[row["spec_kind"]]
        group: Group | NotIndexed | None
        if 0 < size < unit:
            self._too_fine = True
            self._ignored["partial-block"] += int(row["hashes"])
            return None
        if size % unit or (size == 0 and row["tokens"]):
            self._ignored["block-size"] += int(row["hashes"])
            self._unsupported = self._unsupported or "block-size"
            return None
        if size or kind:
            told = size or self._layout.block_tokens
            group = self._groups.learn(number, kind, int(row["window_tokens"]), told)
        else:
            group = self._groups.find(number)
        if isinstance(group, Group):
            return group
        self._ignored["kv-group"] += 1
        if group is NotIndexed.UNSUPPORTED:
            self._unsupported = self._unsupported or "kv-group"
        return None

    def _know(self, number: int, group: Group) -> tuple[int, int]:
        """Enter a group into the tables; returns the lengths of its blocks and chunks."""
        inner = chunk = 1
        if group.rule is not Rule.CHECKPOINT:
            inner = group.block_tokens // self._settings.unit
            chunk = inner * self._chunk_blocks
        inner, chunk = min(inner, MAX_LENGTH), min(chunk, MAX_LENGTH)
        self._tables.groups[number] = group.block_tokens, inner, chunk
        self._settings = self._settings._replace(max_length=max(self._settings.max_length, chunk))
        return inner, chunk

    def _holding(self, tier: Tier, group: Group, number: int) -> int:
        """Row of a tier and group, which may be new."""
        holding = (tier, group.index_group)
        if holding not in self._holdings:
            self._holdings.append(holding)
            self._blocks = widened(self._blocks, len(self._holdings))
        h = self._holdings.index(holding)
        self._tables.holdings[tier, number] = h
        return h

    def export(self) -> MirrorState:
        """The mirror as data; a pure read, on the terms of `contents`."""
        layout = self._layout
        return MirrorState(
            layout.model_fingerprint,
            layout.block_tokens,
            layout.key_block_tokens,
            self._settings.counts_copies,
            self._chunk_blocks,
            self._losses.reason,
            self._unsupported,
            self._too_fine,
            bool(self._counts[kernels.HOST_USED]),
            mirror_state.group_states(self._groups.all),
            [HoldingState(*holding) for holding in self._holdings],
            *mirror_state.packed(self._blocks),
        )

    @classmethod
    def restore(cls, layout: BlockLayout, state: MirrorState, **options: Any) -> "Mirror":
        """A mirror that goes on where another was exported.

        :param options: what the constructor takes.
        :raises BadRecord: the state was made with another layout or other options, or cannot be.
        """
        mirror = cls(layout, **options)
        made_with = BlockLayout(state.model_fingerprint, state.block_tokens, state.key_block_tokens)
        counts = mirror._settings.counts_copies, mirror._chunk_blocks
        if (made_with, state.count_copies, state.chunk_blocks) != (layout, *counts):
            raise BadRecord("mirror state: of another layout")
        mirror._groups.restore(mirror_state.groups_of(state))
        mirror._holdings = mirror_state.holdings_of(state)
        mirror._losses.restore(state.lost)
        mirror._unsupported = state.unsupported
        mirror._too_fine = state.too_fine
        mirror._counts[kernels.HOST_USED] = state.host_used
        for number, group in mirror._groups.indexed.items():
            mirror._know(number, group)
            for h, (tier, index_group) in enumerate(mirror._holdings):
                if index_group == group.index_group:
                    mirror._tables.holdings[tier, number] = h
        rows, max_length = mirror._blocks.hashes.size, mirror._settings.max_length
        mirror._blocks = mirror_state.block_map_of(state, rows, max_length)
        return mirror

    def check_integrity(self) -> None:
        """Assert the mirror's own invariants by building another from its state."""
        twin = Mirror.restore(
            self._layout,
            self.export(),
            count_copies=self._settings.counts_copies,
            offload_chunk_blocks=self._chunk_blocks,
        )
        assert (self._blocks.held == twin._blocks.held).all()
        for ours, theirs in zip(self.contents(), twin.contents(), strict=True):
            assert (np.sort(ours.keys) == np.sort(theirs.keys)).all()
            assert (ours.position_counts == theirs.position_counts).all()
