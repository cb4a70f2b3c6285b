"""The blocks that tables are filled with."""

import numpy as np

from bench.index.workload import DELTA_BLOCKS, Delta, build


def all_deltas(distinct_blocks: int, endpoints: int) -> list[Delta]:
    """In order."""
    return [d for chunk in build(distinct_blocks, endpoints).chunks(100) for d in chunk]


def test_an_endpoint_stores_a_block_once_and_after_its_parent() -> None:
    """As an engine with a prefix cache does."""
    held: dict[int, set[int]] = {}
    for delta in all_deltas(20_000, 4):
        own = held.setdefault(delta.slot, {0})
        keys = set(delta.keys.tolist())

        assert len(keys) == DELTA_BLOCKS
        assert not keys & own
        assert delta.parent in own
        assert (delta.parent == 0) == (delta.position == 0)
        own |= keys


def test_it_is_as_large_and_as_shared_as_it_says() -> None:
    """Every key is stored by somebody, and some by several."""
    workload = build(20_000, 8)
    deltas = all_deltas(20_000, 8)

    keys, holders = np.unique(np.concatenate([d.keys for d in deltas]), return_counts=True)
    assert keys.size == workload.keys.size
    assert 20_000 <= keys.size < 21_000
    assert holders.sum() == workload.held_blocks
    assert workload.shared_ratio == holders[holders > 1].sum() / holders.sum()
    assert 0.1 < workload.shared_ratio < 0.6


def test_contents_are_what_the_deltas_add_up_to() -> None:
    """In the order of their positions."""
    workload = build(20_000, 4)
    place = {
        key: delta.position + at
        for delta in all_deltas(20_000, 4)
        for at, key in enumerate(delta.keys.tolist())
    }

    total = 0
    for slot in range(4):
        keys, counts = workload.contents(slot)
        positions = [place[key] for key in keys.tolist()]
        assert positions == sorted(positions)
        assert np.bincount(positions).tolist() == counts.tolist()
        total += keys.size
    assert total == workload.held_blocks


def test_the_beginning_of_a_workload() -> None:
    """Has the pairs that were asked for."""
    assert build(20_000, 4).first(6_400).held_blocks == 6_400
