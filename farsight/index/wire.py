"""What the index reads from messages, checked."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from farsight import positions
from farsight.errors import InvalidField
from farsight.index.match import Confidence
from farsight.keys import Keys, unpack
from farsight.pb import types_pb2
from farsight.pb.events_pb2 import KvChange, KvDelta, KvGroup, KvSnapshot, Load
from farsight.positions import Buckets

Tier: TypeAlias = types_pb2.Tier.ValueType
# Action, tier, KV group, keys, and their buckets where positions are known.
Change: TypeAlias = tuple[KvChange.Action.ValueType, Tier, int, Keys, Buckets | None]
Part: TypeAlias = tuple[Tier, int, Keys, Buckets | None]
GroupRule: TypeAlias = tuple[int, KvGroup.Rule.ValueType, int]  # group, rule, window in blocks
Layout: TypeAlias = tuple[GroupRule, ...]

MAX_REASON_CHARS = 200
MAX_POOL_CHARS = 256
MAX_GROUPS = 16
MAX_WINDOW_BLOCKS = 1 << 20
MAX_SNAPSHOT_KEYS = 1 << 26
STORE, REMOVE, CLEAR = KvChange.ACTION_STORE, KvChange.ACTION_REMOVE, KvChange.ACTION_CLEAR
_ACTIONS = frozenset((STORE, REMOVE, CLEAR))
_RULES = frozenset((KvGroup.RULE_PREFIX, KvGroup.RULE_SUFFIX, KvGroup.RULE_CHECKPOINT))
PLAIN: Layout = ((0, KvGroup.RULE_PREFIX, 0),)


class Beat(NamedTuple):
    """What a heartbeat says of the KV stream."""

    confidence: Confidence
    reason: str
    layout: Layout
    storage_pool: str


def changes_of(delta: KvDelta) -> Sequence[Change]:
    """The changes of a delta; tiers that we do not know count as nothing.

    :raises InvalidField: keys, spans, groups or actions are bad.
    """
    changes = [_change_of(change) for change in delta.changes]
    if len(changes) > 1 and any(change[0] == CLEAR for change in changes):
        return _without_cleared(changes)
    return changes


def _change_of(change: KvChange) -> Change:
    action, group = change.action, change.group
    if action not in _ACTIONS:
        raise InvalidField("changes.action", "STORE, REMOVE or CLEAR")
    if group >= MAX_GROUPS:
        raise InvalidField("changes.group", f"below {MAX_GROUPS}")
    keys = unpack(change.keys, "changes.keys")
    if action == STORE and (spans := change.spans):
        buckets = positions.of_spans(spans, keys.size, "changes.spans")
        return action, change.tier, group, keys, buckets
    return action, change.tier, group, keys, None


def _without_cleared(changes: Sequence[Change]) -> Sequence[Change]:
    """Without what a later change of the same delta clears again: a tier is cleared when empty."""
    kept = []
    cleared = set()
    for change in reversed(changes):
        if change[0] == CLEAR:
            cleared.add(change[1])
        elif change[0] == STORE and change[1] in cleared:
            continue
        kept.append(change)
    return kept[::-1]


def parts_of(snapshot: KvSnapshot) -> Sequence[Part]:
    """The keys of a snapshot by tier and group; takes long for a large one.

    :raises InvalidField: keys, groups or counts are bad.
    """
    parts = [
        (part.tier, part.group, unpack(part.keys, "tiers.keys", MAX_SNAPSHOT_KEYS), part)
        for part in snapshot.tiers
    ]
    if any(group >= MAX_GROUPS for _, group, _, _ in parts):
        raise InvalidField("tiers.group", f"below {MAX_GROUPS}")
    if sum(keys.size for _, _, keys, _ in parts) != snapshot.block_count:
        raise InvalidField("block_count", "the number of keys in the tiers")
    field = "tiers.position_counts"
    return [
        (tier, group, keys, positions.of_counts(part.position_counts, keys.size, field))
        for tier, group, keys, part in parts
    ]


def beat_of(load: Load) -> Beat:
    """What the sidecar thinks of its mirror, and how its engine keeps its cache.

    :raises InvalidField: the confidence, a group's rule or the storage pool is none that we know.
    """
    confidence, reason = _opinion_of(load)
    pool = load.storage_pool
    if len(pool) > MAX_POOL_CHARS or not pool.isprintable():
        raise InvalidField("storage_pool", f"at most {MAX_POOL_CHARS} printable characters")
    if not load.kv_groups and not load.kv_without_prefix_group:
        return Beat(confidence, reason, PLAIN, pool)
    return Beat(confidence, reason, _layout_of(load), pool)


def _opinion_of(load: Load) -> tuple[Confidence, str]:
    try:
        confidence = Confidence(load.kv_confidence)
    except ValueError:
        raise InvalidField("kv_confidence", "a known confidence") from None
    if confidence is Confidence.UNSPECIFIED:
        return Confidence.DEGRADED, "the sidecar does not say how far it trusts its mirror"
    return confidence, load.kv_reason[:MAX_REASON_CHARS]


def _layout_of(load: Load) -> Layout:
    if len(load.kv_groups) >= MAX_GROUPS or (load.kv_without_prefix_group and not load.kv_groups):
        raise InvalidField("kv_groups", f"1 to {MAX_GROUPS - 1} groups")
    rules = sorted((g.group, g.rule, g.window_blocks) for g in load.kv_groups)
    for group, rule, window_blocks in rules:
        if not 0 < group < MAX_GROUPS:
            raise InvalidField("kv_groups.group", f"1 to {MAX_GROUPS - 1}")
        if rule not in _RULES:
            raise InvalidField("kv_groups.rule", "PREFIX, SUFFIX or CHECKPOINT")
        if window_blocks > MAX_WINDOW_BLOCKS:
            raise InvalidField("kv_groups.window_blocks", f"at most {MAX_WINDOW_BLOCKS}")
    if len({group for group, _, _ in rules}) < len(rules):
        raise InvalidField("kv_groups.group", "every group once")
    return tuple(rules) if load.kv_without_prefix_group else (*PLAIN, *rules)
