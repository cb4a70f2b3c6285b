"""The sidecar's types as protobuf messages."""

from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from farsight.errors import BadRecord
from farsight.keys import pack
from farsight.pb.events_pb2 import (
    KvChange,
    KvDelta,
    KvGroup,
    KvSnapshot,
    KvSnapshotReply,
    KvSnapshotRequest,
    Load,
    TierKeys,
)
from farsight.pb.types_pb2 import Confidence as PbConfidence
from farsight.pb.types_pb2 import Tier as PbTier
from services.sidecar.changes import Change
from services.sidecar.holding import HeldKeys
from services.sidecar.status import KvStatus

MAX_REQUEST_BYTES = 4096


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
                group=change.group,
                spans=change.spans,
            )
            for change in changes
        ],
        sent_unix_ms=now_unix_ms,
    ).SerializeToString()


def encode_snapshot(
    endpoint_id: str, epoch: int, seq: int, held: Sequence[HeldKeys], now_unix_ms: int
) -> bytes:
    """A KvSnapshot of what is held on each tier in each group."""
    return KvSnapshot(
        endpoint_id=endpoint_id,
        epoch=epoch,
        seq=seq,
        tiers=[
            TierKeys(
                tier=PbTier.ValueType(part.tier),
                group=part.group,
                keys=pack(part.keys),
                position_counts=part.position_counts.tolist(),
            )
            for part in held
            if part.keys.size
        ],
        taken_unix_ms=now_unix_ms,
        block_count=sum(part.keys.size for part in held),
    ).SerializeToString()


def wants_fresh_snapshot(request: bytes) -> bool:
    """Whether a KvSnapshotRequest asks for a new snapshot.

    :raises BadRecord: it is none.
    """
    if len(request) > MAX_REQUEST_BYTES:
        raise BadRecord(f"snapshot request: {len(request)} bytes, at most {MAX_REQUEST_BYTES}")
    try:
        return KvSnapshotRequest.FromString(request).fresh
    except DecodeError as error:
        raise BadRecord(f"snapshot request: {error}") from error


def encode_snapshot_reply(object_name: str, epoch: int, seq: int) -> bytes:
    """A KvSnapshotReply."""
    return KvSnapshotReply(object_name=object_name, epoch=epoch, seq=seq).SerializeToString()


def encode_load(
    endpoint_id: str, load: EngineLoad, kv: KvStatus, storage_pool: str, asked_unix_ms: int
) -> bytes:
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
        kv_groups=[
            KvGroup(
                group=rule.group,
                rule=KvGroup.Rule.ValueType(rule.rule),
                window_blocks=rule.window_blocks,
            )
            for rule in kv.groups
        ],
        kv_without_prefix_group=kv.without_prefix_group,
        storage_pool=storage_pool,
    ).SerializeToString()
