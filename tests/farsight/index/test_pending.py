"""Deltas that wait, within bounds."""

import numpy as np
import pytest

from farsight.index import pending
from farsight.index.pending import Pending, Total, bound
from farsight.index.wire import STORE, Change
from tests.farsight.index.messages import DEVICE


def delta(keys: int = 1) -> list[Change]:
    """One change with so many keys."""
    return [(STORE, DEVICE, 0, np.arange(1, keys + 1, dtype=np.uint64), None)]


def test_a_delta_waits_until_it_is_taken() -> None:
    """Once; one that came twice is kept once."""
    total = Total()
    waiting = Pending(total)
    waiting.put(3, delta())
    once = waiting.size_bytes
    waiting.put(3, delta())

    assert waiting.size_bytes == total.size_bytes == once
    assert waiting.take(3) is not None
    assert waiting.take(3) is None
    assert total.size_bytes == 0


def test_the_oldest_are_dropped_past_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot covers those first."""
    monkeypatch.setattr(pending, "MAX_BYTES", 100_000)
    waiting = Pending(Total())

    for seq in range(1, 50):
        waiting.put(seq, delta(1000))

    assert waiting.size_bytes <= 100_000
    kept = [seq for seq in range(1, 50) if seq in waiting]
    assert kept == list(range(50 - len(kept), 50))


def test_those_that_keep_most_give_way_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint with little loses nothing because of one with much."""
    monkeypatch.setattr(pending, "MAX_TOTAL_BYTES", 100_000)
    total = Total()
    small, large = Pending(total), Pending(total)
    small.put(1, delta())
    for seq in range(1, 50):
        large.put(seq, delta(1000))
        bound(total, (small, large))

    assert total.size_bytes <= 100_000
    assert 1 in small
    assert 49 in large


def test_what_a_snapshot_contains_waits_no_more() -> None:
    """Later deltas stay."""
    total = Total()
    waiting = Pending(total)
    for seq in (2, 3, 5):
        waiting.put(seq, delta())

    waiting.forget_until(3)
    assert [seq in waiting for seq in (2, 3, 5)] == [False, False, True]
    waiting.clear()
    assert (len(waiting), total.size_bytes) == (0, 0)
