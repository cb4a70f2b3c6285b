"""One endpoint's cache at one delta, as the index or the mirror tells it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from farsight.errors import InvalidField
from farsight.keys import Keys, unpack
from farsight.pb import types_pb2
from farsight.pb.events_pb2 import KvChange, KvDelta, KvSnapshot

Place = tuple[types_pb2.Tier.ValueType, int]
TIERS: Mapping[types_pb2.Tier.ValueType, str] = {
    types_pb2.TIER_DEVICE: "device",
    types_pb2.TIER_HOST: "host",
    types_pb2.TIER_STORAGE: "storage",
}
MAX_KEYS = 1 << 26


@dataclass(frozen=True, slots=True)
class Contents:
    """Keys by (tier, KV group) after delta `seq`, sorted, each once; tiers unknown to the index are
    left out."""

    epoch: int
    seq: int
    held: Mapping[Place, Keys]


def gathered(epoch: int, seq: int, parts: Iterable[tuple[Place, Keys]]) -> Contents:
    """Contents from keys in any order and any number of parts."""
    by_place: dict[Place, list[Keys]] = {}
    for (tier, group), keys in parts:
        if tier in TIERS and keys.size:
            by_place.setdefault((tier, group), []).append(keys)
    return Contents(epoch, seq, {at: np.unique(np.concatenate(k)) for at, k in by_place.items()})


def of_snapshot(snapshot: KvSnapshot) -> Contents:
    """What a snapshot says.

    :raises InvalidField: it contradicts itself.
    """
    parts = [((t.tier, t.group), unpack(t.keys, "tiers.keys", MAX_KEYS)) for t in snapshot.tiers]
    if sum(keys.size for _, keys in parts) != snapshot.block_count:
        raise InvalidField("block_count", "the number of keys in the tiers")
    return gathered(snapshot.epoch, snapshot.seq, parts)


@dataclass(slots=True)
class _Net:
    """What deltas come to in one place: cleared or not, and then the last word on each key."""

    is_cleared: bool = False
    is_held: dict[int, bool] = field(default_factory=dict)

    def on(self, keys: Keys) -> Keys:
        """The keys after it."""
        last = np.fromiter(self.is_held, np.uint64, len(self.is_held))
        stays = np.fromiter(self.is_held.values(), np.bool_, len(self.is_held))
        before = keys[:0] if self.is_cleared else np.setdiff1d(keys, last)
        return np.union1d(before, last[stays])


def advanced(contents: Contents, deltas: Sequence[KvDelta]) -> Contents:
    """The contents after the deltas that follow them, in order.

    :raises InvalidField: keys of a delta are malformed.
    """
    nets = {at: _Net() for at in contents.held}
    for change in (change for delta in deltas for change in delta.changes):
        if change.action == KvChange.ACTION_CLEAR:
            for at in [at for at in nets if at[0] == change.tier]:
                nets[at] = _Net(is_cleared=True)
        elif change.tier in TIERS:
            net = nets.setdefault((change.tier, change.group), _Net())
            is_held = change.action == KvChange.ACTION_STORE
            keys = unpack(change.keys, "changes.keys")
            net.is_held.update(dict.fromkeys(keys.tolist(), is_held))
    none = np.empty(0, np.uint64)
    held = {at: net.on(contents.held.get(at, none)) for at, net in nets.items()}
    seq = deltas[-1].seq if deltas else contents.seq
    return Contents(contents.epoch, seq, {at: keys for at, keys in held.items() if keys.size})
