"""A scripted sidecar: an endpoint's cache, and the messages that tell of it."""

from collections.abc import Iterable

import numpy as np

from farsight.keys import Keys, pack
from farsight.pb import types_pb2
from farsight.pb.events_pb2 import KvChange, KvDelta, KvSnapshot, Load, TierKeys

DEVICE, HOST, STORAGE = types_pb2.TIER_DEVICE, types_pb2.TIER_HOST, types_pb2.TIER_STORAGE
STORE, REMOVE, CLEAR = KvChange.ACTION_STORE, KvChange.ACTION_REMOVE, KvChange.ACTION_CLEAR
TIERS = (DEVICE, HOST, STORAGE)
Held = dict[types_pb2.Tier.ValueType, frozenset[int]]


def key_array(*keys: int) -> Keys:
    """Keys to ask for."""
    return np.array(keys, np.uint64)


def packed(keys: Iterable[int]) -> bytes:
    """Keys as they travel."""
    return pack(key_array(*keys))


def change(
    action: KvChange.Action.ValueType,
    keys: Iterable[int] = (),
    tier: types_pb2.Tier.ValueType = DEVICE,
) -> KvChange:
    """One change of a cache."""
    return KvChange(action=action, tier=tier, keys=packed(keys))


class Cache:
    """What one endpoint holds, at every point of every life."""

    def __init__(self, endpoint_id: str, epoch: int = 1) -> None:
        self.endpoint_id = endpoint_id
        self.epoch = epoch
        self.seq = 0
        self.held: Held = dict.fromkeys(TIERS, frozenset())
        self.history = {(epoch, 0): self.held}

    def restart(self) -> None:
        """A new, empty life."""
        self.epoch += 1
        self.seq = 0
        self.held = dict.fromkeys(TIERS, frozenset())
        self.history[self.epoch, 0] = self.held

    def tell(self, *changes: KvChange) -> KvDelta:
        """Change the cache; returns the delta."""
        held = dict(self.held)
        for one in changes:
            keys = frozenset(np.frombuffer(one.keys, "<u8").tolist())
            if one.action == STORE:
                held[one.tier] |= keys
            elif one.action == REMOVE:
                held[one.tier] -= keys
            else:
                held[one.tier] = frozenset()
        self.seq += 1
        self.held = self.history[self.epoch, self.seq] = held
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
        )

    def snapshot(self) -> KvSnapshot:
        """The cache as an object for the store."""
        return KvSnapshot(
            endpoint_id=self.endpoint_id,
            epoch=self.epoch,
            seq=self.seq,
            tiers=[TierKeys(tier=t, keys=packed(k)) for t, k in self.held.items() if k],
            block_count=sum(len(keys) for keys in self.held.values()),
        )
