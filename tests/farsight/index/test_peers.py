"""Replies of indexers as the router reads them."""

import numpy as np
import pytest

from farsight.errors import InvalidField
from farsight.index.match import Confidence
from farsight.index.peers import decode
from farsight.pb import types_pb2
from farsight.pb.index_pb2 import MatchReply


def test_columns_become_arrays() -> None:
    """One row per endpoint, in order."""
    found = decode(
        MatchReply(
            endpoint_ids=["a", "b"],
            device_blocks=[3, 0],
            host_blocks=[1, 2],
            storage_blocks=[0, 7],
            age_ms=[5, 2**32 - 1],
            confidence=[types_pb2.CONFIDENCE_EXACT, types_pb2.CONFIDENCE_DEGRADED],
        )
    )

    assert found.endpoint_ids == ("a", "b")
    assert found.device_blocks.tolist() == [3, 0]
    assert found.storage_blocks.dtype == np.uint32
    assert found.age_ms.tolist() == [5, 2**32 - 1]
    assert [Confidence(c) for c in found.confidence] == [Confidence.EXACT, Confidence.DEGRADED]


@pytest.mark.parametrize(
    "missing", ["device_blocks", "host_blocks", "storage_blocks", "age_ms", "confidence"]
)
def test_columns_of_unequal_length_are_refused(missing: str) -> None:
    """No row is made up."""
    columns = ("device_blocks", "host_blocks", "storage_blocks", "age_ms", "confidence")
    reply = MatchReply(endpoint_ids=["a"])
    for column in columns:
        if column != missing:
            getattr(reply, column).append(1)

    with pytest.raises(InvalidField):
        decode(reply)


@pytest.mark.parametrize("value", [-1, 4, 300])
def test_an_unknown_confidence_is_never_exact(value: int) -> None:
    """A newer indexer's word that we do not know is no trust, and no error."""
    reply = MatchReply(
        endpoint_ids=["a"], device_blocks=[1], host_blocks=[1], storage_blocks=[1], age_ms=[1]
    )
    reply.confidence.append(types_pb2.Confidence.ValueType(value))

    assert decode(reply).confidence[0] != Confidence.EXACT
