"""What the index reads from messages, checked."""

from collections.abc import Sequence
from typing import TypeAlias

from farsight.errors import InvalidField
from farsight.index.match import Confidence
from farsight.keys import Keys, unpack
from farsight.pb import types_pb2
from farsight.pb.events_pb2 import KvChange, KvDelta, Load

Tier: TypeAlias = types_pb2.Tier.ValueType
Changes: TypeAlias = Sequence[tuple[KvChange.Action.ValueType, Tier, Keys]]

MAX_REASON_CHARS = 200
ACTIONS = (KvChange.ACTION_STORE, KvChange.ACTION_REMOVE, KvChange.ACTION_CLEAR)


def changes_of(delta: KvDelta) -> Changes:
    """The changes of a delta; tiers that we do not know count as nothing.

    :raises InvalidField: keys or actions are bad.
    """
    for change in delta.changes:
        if change.action not in ACTIONS:
            raise InvalidField("changes.action", "STORE, REMOVE or CLEAR")
    return [(c.action, c.tier, unpack(c.keys, "changes.keys")) for c in delta.changes]


def opinion_of(load: Load) -> tuple[Confidence, str]:
    """What the sidecar thinks of its mirror.

    :raises InvalidField: the confidence is none that we know.
    """
    try:
        confidence = Confidence(load.kv_confidence)
    except ValueError:
        raise InvalidField("kv_confidence", "a known confidence") from None
    if confidence is Confidence.UNSPECIFIED:
        return Confidence.DEGRADED, "the sidecar does not say how far it trusts its mirror"
    return confidence, load.kv_reason[:MAX_REASON_CHARS]
