"""Messages of the sidecar."""

import pytest

from farsight.errors import BadRecord
from farsight.pb.events_pb2 import KvDelta, KvGroup, KvSnapshotRequest, Load
from services.sidecar.changes import Action, Change, Tier
from services.sidecar.kv_groups import KvGroupRule, Rule
from services.sidecar.status import Confidence, KvStatus
from services.sidecar.wire import EngineLoad, encode_delta, encode_load, wants_fresh_snapshot


def test_a_delta_tells_group_and_positions() -> None:
    """Of each change."""
    changes = [
        Change(Action.STORE, Tier.HOST, 2, bytes(range(16)), (5, 2)),
        Change(Action.CLEAR, Tier.DEVICE, 0, b""),
    ]

    delta = KvDelta.FromString(encode_delta("pod", 3, 4, changes, 5))

    assert (delta.endpoint_id, delta.epoch, delta.seq, delta.sent_unix_ms) == ("pod", 3, 4, 5)
    found = [(c.action, c.tier, c.group, c.keys, tuple(c.spans)) for c in delta.changes]
    assert found == [(1, 2, 2, bytes(range(16)), (5, 2)), (3, 1, 0, b"", ())]


def test_a_load_tells_the_groups_and_the_storage() -> None:
    """What an index needs beside the blocks."""
    groups = (KvGroupRule(1, Rule.SUFFIX, 65), KvGroupRule(2, Rule.CHECKPOINT, 0))
    kv = KvStatus(7, 8, Confidence.DEGRADED, "gap", 9, groups, True)

    load = Load.FromString(encode_load("pod", EngineLoad(1, 2, 0.5), kv, "nfs://kv", 10))

    assert [(g.group, g.rule, g.window_blocks) for g in load.kv_groups] == [
        (1, KvGroup.RULE_SUFFIX, 65),
        (2, KvGroup.RULE_CHECKPOINT, 0),
    ]
    assert (load.kv_without_prefix_group, load.storage_pool) == (True, "nfs://kv")
    assert (load.epoch, load.kv_seq, load.kv_reason, load.kv_blocks_held) == (7, 8, "gap", 9)


def test_requests_say_whether_they_want_a_fresh_snapshot() -> None:
    """An empty one, as older indexers send it, does not."""
    assert wants_fresh_snapshot(KvSnapshotRequest(fresh=True).SerializeToString())
    assert not wants_fresh_snapshot(KvSnapshotRequest(replica_id="r").SerializeToString())
    assert not wants_fresh_snapshot(b"")


@pytest.mark.parametrize("request_bytes", [b"\xff\xff", b"\x0a" + bytes(5000)])
def test_other_requests_are_refused(request_bytes: bytes) -> None:
    """With a typed error."""
    with pytest.raises(BadRecord, match="snapshot request"):
        wants_fresh_snapshot(request_bytes)
