"""Several KV groups in one mirror: rules, sparse spans, partial blocks and offloaded chunks."""

from typing import Any

import pytest

from farsight.keys import unpack
from services.sidecar.changes import Action, Change, Tier
from services.sidecar.kv_groups import KvGroupRule, Rule
from services.sidecar.mirror import BlockLayout, Mirror
from tests.services.sidecar.events_for import (
    LAYOUT,
    clear,
    follow,
    held,
    keys_of,
    placeholder,
    remove,
    store,
    tokens_of,
)

TOKENS = [token for block in range(1, 17) for token in tokens_of(block)]
KEYS = [int(key) for key in unpack(keys_of(TOKENS), "keys")]
WINDOW = {"kind": "sliding_window", "window": 33}
MAMBA = {"kind": "mamba"}
COARSE = BlockLayout("model", 64, 16)


def span(first: int, end: int) -> list[int]:
    """Tokens of canonical blocks."""
    return TOKENS[first * 16 : end * 16]


def test_each_group_is_told_apart() -> None:
    """The first full group is group 0; others are numbered as they come, with their rules."""
    mirror = Mirror(LAYOUT)

    follow(
        mirror,
        store([1, 2], span(0, 2), group_idx=0, **WINDOW),
        store([1, 2], span(0, 2), group_idx=1),
        store([1, 2], span(0, 2), group_idx=2, kind="mla_attention"),
        store([2], span(0, 2), group_idx=3, block_size=32, **MAMBA),
        remove(1, group_idx=0),
    )

    assert mirror.kv_groups == (
        KvGroupRule(1, Rule.SUFFIX, 2),
        KvGroupRule(2, Rule.PREFIX, 0),
        KvGroupRule(3, Rule.CHECKPOINT, 0),
    )
    assert not mirror.without_prefix_group
    assert held(mirror, group=0) == held(mirror, group=2) == set(KEYS[:2])
    assert held(mirror, group=1) == {KEYS[1]}
    assert held(mirror, group=3) == {KEYS[1]}
    assert mirror.block_count == 6
    assert mirror.reason == ""


@pytest.mark.parametrize(
    ("window", "block", "drops", "blocks"),
    [
        (1, 16, False, 1),
        (17, 16, False, 1),
        (18, 16, False, 2),
        (4096, 16, False, 256),
        (4096, 16, True, 257),
        (128, 64, False, 8),
        (130, 64, True, 16),
    ],
)
def test_windows_are_whole_blocks(window: int, block: int, drops: bool, blocks: int) -> None:
    """As the engine's search: what lies before the last token's window, in blocks of the group."""
    mirror = Mirror(LAYOUT, drops_last_block=drops)

    event = store([1], span(0, block // 16), block_size=block, kind="sliding_window", window=window)
    follow(mirror, event)

    assert mirror.kv_groups == (KvGroupRule(1, Rule.SUFFIX, blocks),)
    assert mirror.without_prefix_group


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "chunked_local_attention"},
        {"kind": "unknown"},
        {"kind": "new_attention"},
        {"kind": "sliding_window"},
        {"group_idx": 64},
    ],
)
def test_groups_without_a_rule_degrade(fields: dict[str, Any]) -> None:
    """Counted, and said; the other groups are indexed."""
    mirror = Mirror(LAYOUT)

    follow(mirror, store([1], span(0, 1)), store([1], span(0, 1), **({"group_idx": 1} | fields)))

    assert held(mirror) == set(KEYS[:1])
    assert mirror.reason == "kv-group"
    assert mirror.take_ignored() == {"kv-group": 1}


@pytest.mark.parametrize("kind", ["encoder_only_attention", "cross_attention"])
def test_encoders_are_no_prefix_cache(kind: str) -> None:
    """Nothing is missing without them."""
    mirror = Mirror(LAYOUT)

    follow(mirror, store([1], span(0, 1)), store([1], span(0, 1), group_idx=1, kind=kind))

    assert (mirror.reason, mirror.kv_groups) == ("", ())


def test_sparse_spans_get_their_keys_from_other_groups() -> None:
    """Before or later: the hash is the same in every group."""
    mirror = Mirror(LAYOUT)

    follow(mirror, store([1, 2, 3], span(0, 3)), store([3], span(0, 3), group_idx=1, **WINDOW))
    assert (held(mirror, group=1), mirror.reason) == ({KEYS[2]}, "")

    changes = follow(mirror, store([5], span(3, 5), parent=3, group_idx=1, **WINDOW))
    assert (changes, mirror.reason) == ([], "orphan-blocks")

    changes = follow(mirror, store([4, 5], span(3, 5), parent=3))
    assert (held(mirror, group=1), mirror.reason) == ({KEYS[2], KEYS[4]}, "")
    assert Change(Action.STORE, Tier.DEVICE, 1, KEYS[4].to_bytes(8, "little"), (4, 1)) in changes
    assert mirror.take_ignored() == {"orphan": 1}


def test_coarse_groups_share_the_hashes_of_fine_ones() -> None:
    """A block of 64 tokens holds the keys of four, a checkpoint only the last."""
    mirror = Mirror(COARSE)

    follow(
        mirror,
        store([1, 2, 3, 4], span(0, 4), block_size=16, group_idx=1, **WINDOW),
        store([4], span(0, 4), block_size=64),
        store([4], span(0, 4), block_size=64, group_idx=2, **MAMBA),
        remove(2, group_idx=1),
    )

    assert held(mirror, group=0) == set(KEYS[:4])
    assert held(mirror, group=1) == {KEYS[0], KEYS[2], KEYS[3]}
    assert held(mirror, group=2) == {KEYS[3]}
    assert mirror.kv_groups[0] == KvGroupRule(1, Rule.SUFFIX, 2)


def test_a_partial_block_is_held_from_its_blocks_start() -> None:
    """Only the tokens of its last hash unit are told; the units before it are in the chain."""
    mirror = Mirror(COARSE)
    fine = {"block_size": 16, "group_idx": 1, **WINDOW}

    follow(
        mirror,
        store([1, 2, 3, 4, 5, 6], span(0, 6), **fine),
        store([4], span(0, 4), block_size=64),
        store([6], span(5, 6), parent=5, block_size=16),
    )
    assert held(mirror) == set(KEYS[:6])

    follow(mirror, remove(6), store([8], span(4, 8), parent=4, block_size=64))
    assert held(mirror) == set(KEYS[:8])
    assert mirror.reason == ""


def test_a_partial_block_of_an_unknown_parent_is_left_out() -> None:
    """The index says less than the engine holds; its removal is no surprise either."""
    mirror = Mirror(COARSE)

    follow(
        mirror,
        store([4], span(0, 4), block_size=64),
        store([6], span(5, 6), parent=5, block_size=16),
        remove(6),
    )

    assert held(mirror) == set(KEYS[:4])
    assert mirror.reason == ""
    assert mirror.take_ignored() == {"partial-block": 1, "unknown-removal": 1}


def test_hash_units_finer_than_a_key_are_left_out() -> None:
    """They have no key; alone they mean that the block size is wrong."""
    mirror = Mirror(LAYOUT)

    follow(mirror, store([1], span(0, 1)[:8], block_size=8))
    assert mirror.reason == "block-size"
    follow(mirror, store([2], span(0, 1)))
    assert mirror.reason == ""
    assert mirror.take_ignored() == {"partial-block": 1}


def test_a_placeholder_stands_for_a_chunk() -> None:
    """The blocks before its hash are found through their parents; overlapping ones are counted."""
    mirror = Mirror(LAYOUT, offload_chunk_blocks=3)
    follow(mirror, store([1, 2, 3, 4, 5, 6], span(0, 6)))

    follow(mirror, placeholder(3, 5))
    assert held(mirror, Tier.HOST) == set(KEYS[:5])
    follow(mirror, remove(3, medium="CPU"))
    assert held(mirror, Tier.HOST) == set(KEYS[2:5])
    follow(mirror, remove(5, medium="CPU"))
    assert held(mirror, Tier.HOST) == set()
    assert mirror.reason == ""


def test_a_chunk_outlives_its_blocks_on_the_device() -> None:
    """What was known when it was announced stays known."""
    mirror = Mirror(LAYOUT, offload_chunk_blocks=2)
    follow(mirror, store([1, 2], span(0, 2)), placeholder(2))

    follow(mirror, clear())
    assert (held(mirror), held(mirror, Tier.HOST)) == (set(), set(KEYS[:2]))

    follow(mirror, store([3], span(2, 3), parent=2))
    assert held(mirror) == {KEYS[2]}


def test_a_removal_of_each_block_of_a_chunk_takes_the_chunk() -> None:
    """Self-describing removals of a chunk that was announced by its last hash alone."""
    mirror = Mirror(LAYOUT, offload_chunk_blocks=3)
    follow(mirror, store([1, 2, 3], span(0, 3)), placeholder(3))

    follow(mirror, remove(1, 2, 3, medium="CPU"))

    assert held(mirror, Tier.HOST) == set()
    assert mirror.take_ignored() == {"unknown-removal": 2}


def test_placeholders_of_recurrent_states_are_checkpoints() -> None:
    """Of a chunk, only the last state is there."""
    mirror = Mirror(LAYOUT, offload_chunk_blocks=2)
    follow(mirror, store([1, 2], span(0, 2)), store([2], span(0, 2), group_idx=1, **MAMBA))

    follow(mirror, placeholder(2, group_idx=1))

    assert held(mirror, Tier.HOST, 1) == {KEYS[1]}


def test_placeholders_of_unknown_groups_are_left_out() -> None:
    """Nobody can say what they stand for."""
    mirror = Mirror(LAYOUT)

    assert follow(mirror, placeholder(1, medium="STORAGE", group_idx=3)) == []
    assert mirror.take_ignored() == {"kv-group": 1}
    assert mirror.reason == ""


def test_a_clear_is_for_all_groups() -> None:
    """The event names none."""
    mirror = Mirror(LAYOUT)
    follow(
        mirror,
        store([1], span(0, 1)),
        store([1], span(0, 1), group_idx=1, **WINDOW),
        store([1], span(0, 1), medium="CPU"),
    )

    assert follow(mirror, clear()) == [Change(Action.CLEAR, Tier.DEVICE, 0, b"")]
    assert held(mirror) == held(mirror, group=1) == set()
    assert held(mirror, Tier.HOST) == set(KEYS[:1])
