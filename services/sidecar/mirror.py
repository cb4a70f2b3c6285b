"""The exact mirror of one engine rank's KV cache: which blocks it holds, under which block keys.

An engine names a block by its own hash, and announces physical copies one by one. Per tier, the
mirror keeps the keys of each block and counts the copies: only the first copy and the last removal
change what the endpoint holds.

Hashes are content addresses within one life of an engine, so a hash that is known on any tier has
the same keys everywhere. A block whose keys cannot be known (its parent is unknown, its span has
holes, it came without tokens) is an orphan: held with no keys, so that its removal is understood.

The mirror is whole, and its endpoint EXACT, when `reason` is empty. What takes it away, and what
gives it back:

- `lose` (undecodable events, a replay that does not reach back, a gap that stays): history is
  missing. Whole again after AllBlocksCleared, which leaves an empty device, if the engine has
  announced nothing on the host; otherwise with the next mirror, which is built from a full
  replay or for a new engine process.
- `orphan-blocks` on device or host: until the orphans are removed or announced again with a known
  parent. Orphans on shared storage only understate it and do not count.
- `kv-group`, `block-size`, `mirror-full`: the engine uses what is not indexed. For the life of the
  mirror.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from farsight.keys import chain, pack, seed_of
from services.sidecar.changes import Action, ChangeLog, Tier
from services.sidecar.events import AllBlocksCleared, BlockHash, BlockRemoved, BlockStored, Event
from services.sidecar.extras import fold
from services.sidecar.holding import ORPHAN, HeldKeys, Holding

TIER_OF_MEDIUM = {
    None: Tier.DEVICE,
    "GPU": Tier.DEVICE,
    "CPU": Tier.HOST,
    "CPU_TIER1": Tier.HOST,
    "CPU_TIER2": Tier.HOST,
    "STORAGE": Tier.STORAGE,
}
INDEXED_GROUPS = frozenset(
    {None, "full_attention", "mla_attention", "sink_full_attention"}
)  # the hit length of the other kinds is no contiguous prefix
_MAX_SEEDS = 4096


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """How an engine's blocks become block keys; `block_tokens` is a multiple of the other."""

    model_fingerprint: str
    block_tokens: int
    key_block_tokens: int


class Mirror:
    """Owned and changed by one task; `count_copies` is False for engines that announce reused
    blocks again (`kv_cache_report_mode` full), where a second announcement is no second copy."""

    def __init__(
        self, layout: BlockLayout, *, max_blocks: int = 4_000_000, count_copies: bool = True
    ) -> None:
        self._layout = layout
        self._max_blocks = max_blocks
        self._count_copies = count_copies
        self._holdings = {tier: Holding() for tier in Tier}
        self._host_used = False
        self._seeds: dict[str, int] = {}
        self._group: int | None = None
        self._full_seen = False
        self._partial_seen = False
        self._lost = ""
        self._unsupported = ""
        self._ignored: Counter[str] = Counter()

    @property
    def reason(self) -> str:
        """Why the mirror may differ from the cache; empty when it does not."""
        if self._lost or self._unsupported:
            return self._lost or self._unsupported
        if self._holdings[Tier.DEVICE].orphans or self._holdings[Tier.HOST].orphans:
            return "orphan-blocks"
        if self._partial_seen and not self._full_seen:
            return "block-size"
        return ""

    @property
    def block_count(self) -> int:
        """Canonical blocks held, over all tiers."""
        return sum(holding.key_count for holding in self._holdings.values())

    def held_count(self, tier: Tier) -> int:
        """Canonical blocks held on a tier."""
        return self._holdings[tier].key_count

    def held(self, tier: Tier) -> HeldKeys:
        """Keys on a tier, in no order."""
        return self._holdings[tier].keys()

    def lose(self, reason: str) -> None:
        """Part of the history is missing; the first reason stays."""
        self._lost = self._lost or reason

    def take_ignored(self) -> Counter[str]:
        """What was left out since the last call, by reason."""
        ignored, self._ignored = self._ignored, Counter()
        return ignored

    def apply(self, event: Event, log: ChangeLog) -> None:
        """Follow one event; what changes goes to `log`."""
        match event:
            case BlockStored():
                self._store(event, log)
            case BlockRemoved():
                self._remove(event, log)
            case AllBlocksCleared():
                self._clear(log)

    def _clear(self, log: ChangeLog) -> None:
        self._holdings[Tier.DEVICE] = Holding()
        if not self._host_used:
            self._lost = ""
        log.add(Action.CLEAR, Tier.DEVICE)

    def _store(self, event: BlockStored, log: ChangeLog) -> None:
        tier = self._tier(event.medium)
        if tier is None or not event.block_hashes or not self._is_indexed(event):
            return
        holding = self._holdings[tier]
        if len(holding) + len(event.block_hashes) > self._max_blocks:
            self._give_up("mirror-full", len(event.block_hashes))
            return
        for block, keys in zip(event.block_hashes, self._keys_of(event), strict=True):
            if fresh := holding.store(block, keys, count_copy=self._count_copies):
                log.add(Action.STORE, tier, fresh)

    def _remove(self, event: BlockRemoved, log: ChangeLog) -> None:
        tier = self._tier(event.medium)
        if tier is None or not self._is_own_group(event.group_idx):
            return
        holding = self._holdings[tier]
        for block in event.block_hashes:
            gone = holding.release(block)
            if gone is None:
                self._ignored["unknown-removal"] += 1
            elif gone:
                log.add(Action.REMOVE, tier, gone)

    def _tier(self, medium: str | None) -> Tier | None:
        tier = TIER_OF_MEDIUM.get(medium)
        if tier is None:
            self._ignored["medium"] += 1
        self._host_used = self._host_used or tier is Tier.HOST
        return tier

    def _is_own_group(self, group: int | None) -> bool:
        """The first group of a supported kind is indexed; engines without groups have one."""
        if self._group is not None and (group or 0) != self._group:
            self._ignored["kv-group"] += 1
            return False
        return True

    def _is_indexed(self, event: BlockStored) -> bool:
        if event.kv_cache_spec_kind not in INDEXED_GROUPS:
            self._give_up("kv-group")
            return False
        if self._group is None:
            self._group = event.group_idx or 0
        if not self._is_own_group(event.group_idx):
            self._unsupported = self._unsupported or "kv-group"
            return False
        size = event.block_size
        if 0 < size < self._layout.block_tokens:
            self._ignored["partial-block"] += 1
            self._partial_seen = True
            return False
        if size % self._layout.block_tokens:
            self._give_up("block-size")
            return False
        self._full_seen = self._full_seen or size > 0
        return True

    def _give_up(self, reason: str, count: int = 1) -> None:
        self._ignored[reason] += count
        self._unsupported = self._unsupported or reason

    def _find(self, block: BlockHash) -> bytes:
        """Keys of a block on any tier; empty when they are not known."""
        for holding in self._holdings.values():
            if keys := holding.get(block):
                return keys
        return ORPHAN

    def _keys_of(self, event: BlockStored) -> list[bytes]:
        """Packed keys of each block of a span; those that are known already are looked up."""
        hashes = event.block_hashes
        found: list[bytes] = []
        for block in hashes:
            if not (keys := self._find(block)):
                break
            found.append(keys)
        if len(found) == len(hashes):
            return found
        seed = self._seed(event, found)
        if seed is None or not self._is_dense(event):
            self._ignored["orphan"] += len(hashes) - len(found)
            return found + [self._find(block) for block in hashes[len(found) :]]
        return found + self._chain(event, len(found), seed)

    def _is_dense(self, event: BlockStored) -> bool:
        """Tokens and extras can be told apart by block."""
        count = len(event.block_hashes)
        aligned = event.extra_keys is None or len(event.extra_keys) == count
        return 0 < event.block_size * count == len(event.token_ids) and aligned

    def _seed(self, event: BlockStored, found: list[bytes]) -> int | None:
        """What the first unknown block of a span is chained to; None when that is not known."""
        if found:
            return int.from_bytes(found[-1][-8:], "little")
        if event.parent_block_hash is not None:
            parent = self._find(event.parent_block_hash)
            return int.from_bytes(parent[-8:], "little") if parent else None
        lora = event.lora_name or ""
        seed = self._seeds.get(lora)
        if seed is None:
            if len(self._seeds) >= _MAX_SEEDS:
                self._seeds.clear()
            layout = self._layout
            seed = seed_of(layout.model_fingerprint, lora, layout.key_block_tokens)
            self._seeds[lora] = seed
        return seed

    def _chain(self, event: BlockStored, skip: int, seed: int) -> list[bytes]:
        """Packed keys of the blocks of a dense span from block `skip` on."""
        size, unit = event.block_size, self._layout.key_block_tokens
        extras = fold(
            event.extra_keys,
            event.lora_name or "",
            event.parent_block_hash is None,
            size,
            unit,
        )
        if extras is not None:
            extras = extras[skip * (size // unit) :]
        tokens = np.array(event.token_ids[skip * size :], np.uint32)
        packed = pack(chain(seed, tokens, unit, extras))
        width = 8 * (size // unit)
        return [packed[at : at + width] for at in range(0, len(packed), width)]

    def check_integrity(self) -> None:
        """Assert the mirror's own invariants; for tests and idle times."""
        for holding in self._holdings.values():
            holding.check_integrity()
