"""The `kv-headroom` scorer."""

import pytest

from services.router.scorers.kv_headroom import KvHeadroom
from tests.services.router.given import candidates, view


def test_it_is_what_is_left_of_the_cache() -> None:
    """1 - usage; an engine that reports more than all of it has nothing left."""
    scores = KvHeadroom()(view(), candidates(4, kv_usage_ratio=[0, 0.25, 1, 1.2]))

    assert scores.tolist() == pytest.approx([1, 0.75, 0, 0])
