"""A scripted sidecar: an endpoint's cache, and the messages that tell of it."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from farsight.index.wire import Tier
from farsight.keys import Keys, pack
from farsight.pb import types_pb2
from farsight.pb.events_pb2 import KvChange, KvDelta, KvGroup, KvSnapshot, Load, TierKeys

DEVICE, HOST, STORAGE = types_pb2.TIER_DEVICE, types_pb2.TIER_HOST, types_pb2.TIER_STORAGE
STORE, REMOVE, CLEAR = KvChange.ACTION_STORE, KvChange.ACTION_REMOVE, KvChange.ACTION_CLEAR
TIERS = (DEVICE, HOST, STORAGE)
PREFIX, SUFFIX, CHECKPOINT = KvGroup.RULE_PREFIX, KvGroup.RULE_SUFFIX, KvGroup.RULE_CHECKPOINT
Held = dict[Tier, frozenset[int]]
Places = Mapping[tuple[Tier, int], frozenset[int]]
"""Keys by tier and KV group; what is empty is not there."""


def key_array(*keys: int) -> Keys:
    """Keys to ask for."""
    return np.array(keys, np.uint64)


def packed(keys: Iterable[int]) -> bytes:
    """Keys as they travel."""
    return pack(key_array(*keys))


def change(
    action: KvChange.Action.ValueType,
    keys: Iterable[int] = (),
    tier: Tier = DEVICE,
    group: int = 0,
    spans: Iterable[int] = (),
) -> KvChange:
    """One change of a cache."""
    return KvChange(action=action, tier=tier, keys=packed(keys), group=group, spans=spans)


def rule_of(group: int, rule: KvGroup.Rule.ValueType, window_blocks: int = 0) -> KvGroup:
    """What a KV group asks of a prefix."""
    return KvGroup(group=group, rule=rule, window_blocks=window_blocks)


def tier_keys(
    place: tuple[Tier, int], keys: Iterable[int], position_of: Mapping[int, int]
) -> TierKeys:
    """Blocks of a place in the order of their positions, where those of all of them are known."""
    known = sorted(keys, key=lambda key: position_of.get(key, -1))
    counts: list[int] = []
    if all(key in position_of for key in known):
        counts = np.bincount([position_of[key] for key in known]).tolist() if known else []
    return TierKeys(tier=place[0], group=place[1], keys=packed(known), position_counts=counts)


class Cache:
    """What one endpoint holds, at every point of every life."""

    def __init__(
        self,
        endpoint_id: str,
        epoch: int = 1,
        storage_pool: str = "",
        groups: Sequence[KvGroup] = (),
        has_prefix_group: bool = True,
    ) -> None:
        self.endpoint_id = endpoint_id
        self.epoch = epoch
        self.storage_pool = storage_pool
        self.groups = groups
        self.has_prefix_group = has_prefix_group
        self.position_of: dict[int, int] = {}
        """Positions that snapshots tell."""
        self.seq = 0
        self.places: Places = {}
        self.history: dict[tuple[int, int], Places] = {(epoch, 0): self.places}

    @property
    def held(self) -> Held:
        """Keys of KV group 0 by tier."""
        return {tier: self.places.get((tier, 0), frozenset()) for tier in TIERS}

    def restart(self) -> None:
        """A new, empty life."""
        self.epoch += 1
        self.seq = 0
        self.places = {}
        self.history[self.epoch, 0] = self.places

    def tell(self, *changes: KvChange) -> KvDelta:
        """Change the cache; returns the delta."""
        places = dict(self.places)
        for one in changes:
            keys = frozenset(np.frombuffer(one.keys, "<u8").tolist())
            place = one.tier, one.group
            held = places.get(place, frozenset())
            if one.action == STORE:
                places[place] = held | keys
            elif one.action == REMOVE:
                places[place] = held - keys
            else:
                places = {place: keys for place, keys in places.items() if place[0] != one.tier}
        self.seq += 1
        self.places = {place: keys for place, keys in places.items() if keys}
        self.history[self.epoch, self.seq] = self.places
        return KvDelta(
            endpoint_id=self.endpoint_id, epoch=self.epoch, seq=self.seq, changes=changes
        )

    def store(self, *keys: int) -> KvDelta:
        """Blocks on the device."""
        return self.tell(change(STORE, keys))

    def heartbeat(
        self,
        confidence: types_pb2.Confidence.ValueType = types_pb2.CONFIDENCE_EXACT,
        reason: str = "",
    ) -> Load:
        """The load message of this moment."""
        return Load(
            endpoint_id=self.endpoint_id,
            epoch=self.epoch,
            kv_seq=self.seq,
            kv_confidence=confidence,
            kv_reason=reason,
            kv_blocks_held=sum(map(len, self.places.values())),
            kv_groups=self.groups,
            kv_without_prefix_group=not self.has_prefix_group,
            storage_pool=self.storage_pool,
        )

    def snapshot(self) -> KvSnapshot:
        """The cache as an object for the store."""
        return KvSnapshot(
            endpoint_id=self.endpoint_id,
            epoch=self.epoch,
            seq=self.seq,
            tiers=[tier_keys(p, keys, self.position_of) for p, keys in self.places.items()],
            block_count=sum(map(len, self.places.values())),
        )
