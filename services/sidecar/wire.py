"""The sidecar's types as protobuf messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from farsight.pb.events_pb2 import (
    KvChange,
    KvDelta,
    KvSnapshot,
    KvSnapshotReply,
    Load,
    TierKeys,
)
from farsight.pb.types_pb2 import Confidence as PbConfidence
from farsight.pb.types_pb2 import Tier as PbTier
from services.sidecar.changes import Change, Tier
from services.sidecar.status import KvStatus


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """What an engine rank says about its load; `kv_usage_ratio` is 0 to 1."""

    running_requests: int
    waiting_requests: int
    kv_usage_ratio: float


def encode_delta(
    endpoint_id: str, epoch: int, seq: int, changes: Sequence[Change], now_unix_ms: int
) -> bytes:
    """A KvDelta."""
    return KvDelta(
        endpoint_id=endpoint_id,
        epoch=epoch,
        seq=seq,
        changes=[
            KvChange(
                action=KvChange.Action.ValueType(change.action),
                tier=PbTier.ValueType(change.tier),
                keys=change.keys,
            )
            for change in changes
        ],
        sent_unix_ms=now_unix_ms,
    ).SerializeToString()


def encode_snapshot(
    endpoint_id: str, epoch: int, seq: int, keys: Mapping[Tier, bytes], now_unix_ms: int
) -> bytes:
    """A KvSnapshot from the packed keys of each tier."""
    return KvSnapshot(
        endpoint_id=endpoint_id,
        epoch=epoch,
        seq=seq,
        tiers=[
            TierKeys(tier=PbTier.ValueType(tier), keys=packed)
            for tier, packed in keys.items()
            if packed
        ],
        taken_unix_ms=now_unix_ms,
        block_count=sum(len(packed) // 8 for packed in keys.values()),
    ).SerializeToString()


def encode_snapshot_reply(object_name: str, epoch: int, seq: int) -> bytes:
    """A KvSnapshotReply."""
    return KvSnapshotReply(object_name=object_name, epoch=epoch, seq=seq).SerializeToString()


def encode_load(endpoint_id: str, load: EngineLoad, kv: KvStatus, asked_unix_ms: int) -> bytes:
    """A Load, which is the heartbeat of the KV stream too."""
    return Load(
        endpoint_id=endpoint_id,
        epoch=kv.epoch,
        sent_unix_ms=asked_unix_ms,
        running_requests=load.running_requests,
        waiting_requests=load.waiting_requests,
        kv_usage_ratio=load.kv_usage_ratio,
        kv_seq=kv.seq,
        kv_confidence=PbConfidence.ValueType(kv.confidence),
        kv_reason=kv.reason,
        kv_blocks_held=kv.block_count,
    ).SerializeToString()
