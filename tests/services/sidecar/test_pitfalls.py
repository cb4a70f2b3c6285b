"""Mistakes that other indexes make, where no other test shows it; docs/kv-index.md lists all."""

from farsight.keys import seed_of
from services.sidecar.changes import Tier
from services.sidecar.kv_groups import KvGroupRule, Rule
from services.sidecar.mirror import BlockLayout, Mirror
from tests.services.sidecar.events_for import (
    LAYOUT,
    follow,
    held,
    keys_of,
    placeholder,
    remove,
    store,
    tokens_of,
)

A, B, C, D = tokens_of(1), tokens_of(2), tokens_of(3), tokens_of(4)


def keys(tokens: list[int], *, block: int = 16) -> list[int]:
    """Keys of a prompt as numbers, in order."""
    packed = keys_of(tokens, block=block)
    return [int.from_bytes(packed[at : at + 8], "little") for at in range(0, len(packed), 8)]


def test_small_blocks_of_a_decode_are_kept_one_by_one() -> None:
    """Pitfall 1: an engine block of 8 that comes alone is a key, and so is what follows it."""
    mirror = Mirror(BlockLayout("model", 8, 8))
    tokens = tokens_of(1, 24)

    for at in range(3):
        parent = {"parent": at} if at else {}
        follow(mirror, store([at + 1], tokens[8 * at : 8 * at + 8], block_size=8, **parent))

    assert held(mirror) == set(keys(tokens, block=8))
    assert (mirror.reason, mirror.take_ignored()) == ("", {})


def test_models_with_the_same_hashes_stay_apart() -> None:
    """Pitfall 2: engine hashes mean something within one engine only; the model is in the keys."""
    mirrors = [Mirror(BlockLayout(name, 16, 16)) for name in ("one", "two")]
    for mirror in mirrors:
        follow(mirror, store([1, 2], A + B))
    assert seed_of("one", "", 16) != seed_of("two", "", 16)
    assert held(mirrors[0]).isdisjoint(held(mirrors[1]))

    follow(mirrors[0], remove(1, 2))

    assert [len(held(mirror)) for mirror in mirrors] == [0, 2]


def test_a_stale_partial_hash_takes_nothing_with_it() -> None:
    """Pitfall 8: a block and the part of it that was announced before count apart."""
    mirror = Mirror(BlockLayout("model", 32, 16))
    whole = keys(A + B + C + D)
    follow(mirror, store([2], A + B, block_size=32))
    follow(mirror, store([3], C, parent=2, block_size=16))
    follow(mirror, store([4], C + D, parent=2, block_size=32))
    assert held(mirror) == set(whole)

    follow(mirror, remove(3))
    assert held(mirror) == set(whole)

    follow(mirror, store([3], C, parent=2, block_size=16), remove(4))
    assert held(mirror) == set(whole[:3])
    follow(mirror, remove(3))
    assert (held(mirror), mirror.reason) == (set(whole[:2]), "")


def test_a_draft_group_may_shift_the_numbers_of_the_others() -> None:
    """Pitfall 9: rules come from kinds and not from numbers; a window needs the dropped block."""
    mirror = Mirror(LAYOUT, drops_last_block=True)

    follow(mirror, store([1], A, group_idx=1, kind="sliding_window", window=17))
    follow(mirror, store([1], A, group_idx=2), store([1], A, group_idx=0))

    assert mirror.kv_groups == (KvGroupRule(1, Rule.SUFFIX, 2), KvGroupRule(2, Rule.PREFIX, 0))
    assert not mirror.without_prefix_group
    assert [held(mirror, group=group) for group in range(3)] == [set(keys(A))] * 3


def test_keys_do_not_depend_on_the_engines_hashes() -> None:
    """Pitfalls 11 and 13: pods of other algorithms or seeds hold the same keys, on every tier."""
    mirrors = [Mirror(LAYOUT), Mirror(LAYOUT)]
    follow(mirrors[0], store([1, 2], A + B))
    follow(mirrors[1], store([b"\7" * 32, b"\x09" * 32], A + B))
    follow(mirrors[0], placeholder(1, medium="STORAGE"))

    assert held(mirrors[0]) == held(mirrors[1]) == set(keys(A + B))
    assert held(mirrors[0], Tier.STORAGE) == {keys(A)[0]}
