"""What the mirror makes of an engine's events."""

from typing import Any

import numpy as np
import pytest

from farsight.keys import extra_of, unpack
from services.sidecar.changes import Action, Change, ChangeLog, Tier
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

A, B, C = tokens_of(1), tokens_of(2), tokens_of(3)


def ints(packed: bytes) -> list[int]:
    """Packed keys as numbers."""
    return [int(key) for key in unpack(packed, "keys")]


def stores(keys: bytes, at: int = 0, tier: Tier = Tier.DEVICE, group: int = 0) -> Change:
    """A STORE change of one span from position `at` on."""
    return Change(Action.STORE, tier, group, keys, (at, len(keys) // 8))


def removes(keys: bytes, tier: Tier = Tier.DEVICE, group: int = 0) -> Change:
    """A REMOVE change."""
    return Change(Action.REMOVE, tier, group, keys)


def test_a_span_becomes_chained_keys() -> None:
    """Two blocks from the start of a prompt, then one that continues them."""
    mirror = Mirror(LAYOUT)

    first = follow(mirror, store([1, 2], A + B))
    second = follow(mirror, store([3], C, parent=2))

    everything = keys_of(A + B + C)
    assert first == [stores(everything[:16])]
    assert second == [stores(everything[16:], 2)]
    assert mirror.held_count(Tier.DEVICE) == mirror.block_count == 3
    assert mirror.reason == ""


def test_neighbouring_changes_of_one_kind_become_one() -> None:
    """One event per removed block is what vLLM sends."""
    mirror = Mirror(LAYOUT)
    follow(mirror, store([1, 2, 3], A + B + C))

    changes = follow(mirror, remove(3), remove(2), store([2], B, parent=1))

    keys = keys_of(A + B + C)
    assert changes == [removes(keys[16:24] + keys[8:16]), stores(keys[8:16], 1)]


def test_engine_blocks_of_several_canonical_blocks() -> None:
    """A 32-token engine block is two keys, and shares them with an engine that has 16."""
    coarse = Mirror(BlockLayout("model", 32, 16))

    changes = follow(coarse, store([1], A + B, block_size=32))

    assert changes == [stores(keys_of(A + B))]
    assert coarse.held_count(Tier.DEVICE) == 2
    keys = keys_of(A + B)
    assert follow(coarse, remove(1)) == [removes(keys[8:] + keys[:8])]


def test_keys_that_engine_blocks_share_are_counted() -> None:
    """Two 32-token blocks that part in their second half share the key of the first."""
    mirror = Mirror(BlockLayout("model", 32, 16))
    first, second = keys_of(A + B), keys_of(A + C)

    assert follow(mirror, store([1], A + B, block_size=32)) == [stores(first)]
    assert follow(mirror, store([2], A + C, block_size=32)) == [stores(second[8:], 1)]
    assert mirror.block_count == 3
    assert held(mirror) == {*ints(first), *ints(second)}
    assert follow(mirror, remove(1)) == [removes(first[8:])]
    assert follow(mirror, remove(2)) == [removes(second[8:] + second[:8])]


def test_engine_blocks_that_are_no_multiple_have_keys_of_their_own() -> None:
    """Blocks of 10 tokens make a namespace of their own."""
    tokens = tokens_of(1, 20)

    changes = follow(Mirror(BlockLayout("model", 10, 10)), store([1, 2], tokens, block_size=10))

    assert changes == [stores(keys_of(tokens, block=10))]


def test_block_size_is_read_from_the_events() -> None:
    """With decode context parallelism an event's block is a multiple of the configured one."""
    mirror = Mirror(LAYOUT)

    changes = follow(mirror, store([1], A + B, block_size=32))

    assert changes == [stores(keys_of(A + B))]
    assert mirror.block_count == 2


def test_a_digest_names_the_block_of_its_last_bytes() -> None:
    """Engines can be told to send whole digests; numbers are their low 64 bits."""
    mirror = Mirror(LAYOUT)
    digest = b"\7" * 24 + (2**63 + 1).to_bytes(8, "big")

    changes = follow(mirror, store([digest], A), store([5], B, parent=2**63 + 1), remove(1 - 2**63))

    keys = keys_of(A + B)
    assert changes == [stores(keys), removes(keys[:8])]


def test_physical_copies_are_counted() -> None:
    """Two requests computed the same block: only the last removal takes it away."""
    mirror = Mirror(LAYOUT)

    changes = follow(mirror, store([1], A), store([1], A), store([1], A))
    assert changes == [stores(keys_of(A))]
    assert follow(mirror, remove(1), remove(1)) == []
    assert follow(mirror, remove(1)) == [removes(keys_of(A))]


def test_announcing_again_is_no_copy_in_full_report_mode() -> None:
    """There, a second announcement only repeats the first."""
    mirror = Mirror(LAYOUT, count_copies=False)

    follow(mirror, store([1, 2], A + B), store([1, 2], A + B))

    assert follow(mirror, remove(1), remove(2)) == [removes(keys_of(A + B))]


def test_tiers_are_counted_apart() -> None:
    """A block on the host stays when its device copy goes; unknown mediums are nothing."""
    mirror = Mirror(LAYOUT)

    changes = follow(
        mirror,
        store([1], A),
        store([1], A, medium="CPU"),
        store([2], B, parent=1, medium="CPU_TIER2"),
        store([1], A, medium="STORAGE"),
        store([9], C, medium="TAPE"),
        remove(1),
    )

    keys = keys_of(A + B)
    assert changes == [
        stores(keys[:8]),
        stores(keys, tier=Tier.HOST),
        stores(keys[:8], tier=Tier.STORAGE),
        removes(keys[:8]),
    ]
    assert mirror.take_ignored() == {"medium": 1}
    assert mirror.reason == ""


def test_no_medium_means_the_device() -> None:
    """Old engines and some copies leave it out."""
    assert follow(Mirror(LAYOUT), store([1], A, medium=None)) == [stores(keys_of(A))]


def test_clear_is_for_the_device_alone() -> None:
    """Host and storage keep their blocks; copies on the device are forgotten."""
    mirror = Mirror(LAYOUT)
    follow(mirror, store([1], A), store([1], A), store([1], A, medium="CPU"))

    assert follow(mirror, clear()) == [Change(Action.CLEAR, Tier.DEVICE, 0, b"")]

    assert mirror.held_count(Tier.DEVICE) == 0
    assert mirror.held_count(Tier.HOST) == 1
    assert follow(mirror, store([1], A), remove(1)) == [
        stores(keys_of(A)),
        removes(keys_of(A)),
    ]


def test_adapter_counts_once() -> None:
    """Its name is in the seed; the copy of it in the extras is not hashed."""
    mirror = Mirror(LAYOUT)

    changes = follow(mirror, store([1, 2], A + B, lora_name="ad", extra_keys=[["ad"], ["ad"]]))

    assert changes == [stores(keys_of(A + B, lora="ad"))]
    assert keys_of(A, lora="ad") != keys_of(A)


def test_salt_is_in_block_0_and_inherited() -> None:
    """Salted prompts share nothing with others; the chain carries it on."""
    mirror = Mirror(LAYOUT)
    extras = np.array([extra_of([b"salt", b"t"]), 0], np.uint64)

    changes = follow(
        mirror, store([1], A, extra_keys=[["t"]]), store([2], B, parent=1, extra_keys=[None])
    )

    assert changes == [stores(keys_of(A + B, extras=extras))]


def test_a_known_hash_has_its_keys_on_every_tier() -> None:
    """Offload events carry no extras, or not even tokens: the hash is enough."""
    mirror = Mirror(LAYOUT)
    salted = follow(mirror, store([1], A, extra_keys=[["t"]]))[0].keys

    described = follow(mirror, store([1, 2], A + B, medium="CPU"))[0].keys
    announced = follow(mirror, placeholder(1, medium="STORAGE"))

    assert described[:8] == salted
    assert described[8:] != keys_of(A + B)[8:]
    assert announced == [stores(salted, tier=Tier.STORAGE)]
    assert mirror.reason == ""


@pytest.mark.parametrize(
    "orphan",
    [
        store([5], B, parent=99),
        store([5], A + B),
        store([5], [], block_size=0),
        store([5], A[:7]),
        store([5], A, extra_keys=[None, ["x"]]),
    ],
    ids=["unknown-parent", "sparse-span", "placeholder", "short", "misaligned-extras"],
)
def test_blocks_without_keys_degrade_until_they_are_gone(orphan: Any) -> None:
    """They are not indexed, nor what is chained to them, and their removal heals."""
    mirror = Mirror(LAYOUT)

    assert follow(mirror, orphan, store([6], C, parent=5)) == []
    assert (mirror.reason, mirror.block_count) == ("orphan-blocks", 0)
    assert follow(mirror, remove(6)) == []
    assert mirror.reason == "orphan-blocks"
    assert follow(mirror, remove(5)) == []
    assert mirror.reason == ""


def test_an_orphan_that_is_announced_with_its_parent_is_indexed() -> None:
    """A copy computed from the start of the prompt tells what it is."""
    mirror = Mirror(LAYOUT)
    follow(mirror, store([2], B, parent=1))

    changes = follow(mirror, store([1, 2], A + B))

    assert changes == [stores(keys_of(A + B))]
    assert mirror.reason == ""
    assert follow(mirror, remove(2)) == []
    assert follow(mirror, remove(2)) == [removes(keys_of(A + B)[8:])]


def test_orphans_on_shared_storage_only_understate() -> None:
    """Files of earlier engines are announced without tokens; the endpoint stays EXACT."""
    mirror = Mirror(LAYOUT)

    follow(mirror, store([5], [], block_size=0, medium="STORAGE"))

    assert mirror.reason == ""


def test_a_block_size_that_does_not_fit_is_said() -> None:
    """Keys of such blocks would never be asked for."""
    mirror = Mirror(LAYOUT)

    assert follow(mirror, store([1], tokens_of(1, 24), block_size=24)) == []
    assert mirror.reason == "block-size"


def test_lost_history_ends_with_a_clear() -> None:
    """After it the device is known to be empty, if there is no host tier."""
    mirror = Mirror(LAYOUT)
    mirror.lose("gap")
    mirror.lose("partial-replay")

    assert mirror.reason == "gap"
    follow(mirror, clear())
    assert mirror.reason == ""


def test_lost_history_outlives_a_clear_when_the_host_is_used() -> None:
    """What the host holds is still not known."""
    mirror = Mirror(LAYOUT)
    follow(mirror, remove(7, medium="CPU"))
    mirror.lose("gap")

    follow(mirror, clear())

    assert mirror.reason == "gap"


def test_memory_is_bounded() -> None:
    """Past the limit blocks are left out, and the endpoint says so."""
    mirror = Mirror(LAYOUT, max_blocks=2)

    follow(mirror, store([1, 2], A + B), store([3], C, parent=2))

    assert mirror.block_count == 2
    assert mirror.reason == "mirror-full"


def test_full_storage_only_understates() -> None:
    """Files are never announced as removed, so the limit is always reached some day."""
    mirror = Mirror(LAYOUT, max_blocks=2)

    follow(mirror, store([1, 2], A + B, medium="STORAGE"), store([3], C, medium="STORAGE"))

    assert mirror.block_count == 2
    assert mirror.reason == ""
    assert mirror.take_ignored() == {"storage-full": 1}


def test_hash_0_is_a_hash() -> None:
    """Nothing is special about it."""
    mirror = Mirror(LAYOUT)

    changes = follow(mirror, store([0], A), store([1], B, parent=0), remove(0))

    keys = keys_of(A + B)
    assert changes == [stores(keys), removes(keys[:8])]


def test_two_hashes_may_name_one_key() -> None:
    """An engine may hash what it does not tell: the key stays until both are gone."""
    mirror = Mirror(LAYOUT)

    assert follow(mirror, store([1], A), store([2], A)) == [stores(keys_of(A))]
    assert follow(mirror, remove(1)) == []
    assert follow(mirror, remove(2)) == [removes(keys_of(A))]


def test_a_parent_that_left_takes_nothing_with_it() -> None:
    """The block behind it keeps its key and its position."""
    mirror = Mirror(LAYOUT)
    follow(mirror, store([1, 2], A + B), remove(1))

    keys = keys_of(A + B + C)
    assert follow(mirror, store([3], C, parent=2)) == [stores(keys[16:], 2)]
    assert [part.position_counts.tolist() for part in mirror.contents()] == [[0, 1, 1]]


def test_growing_keeps_everything() -> None:
    """Far more blocks than there was room for."""
    mirror = Mirror(LAYOUT, expected_blocks=1)
    tokens = list(range(16 * 5000))

    follow(mirror, store(range(5000), tokens))

    assert held(mirror) == set(ints(keys_of(tokens)))


def test_announcing_tells_all_that_is_held() -> None:
    """Chains are few spans."""
    mirror, log = Mirror(LAYOUT), ChangeLog()
    follow(mirror, store([1, 2], A + B), store([1], A, medium="CPU"), store([9], C))
    keys, other = keys_of(A + B), keys_of(C)

    mirror.announce(log)

    assert list(log.take()) == [
        Change(Action.STORE, Tier.DEVICE, 0, keys + other, (0, 2, 0, 1)),
        stores(keys[:8], tier=Tier.HOST),
    ]


def test_removing_what_is_not_held_is_counted() -> None:
    """The outcome agrees, so nothing is degraded."""
    mirror = Mirror(LAYOUT)

    assert follow(mirror, remove(1, 2)) == []
    assert mirror.take_ignored() == {"unknown-removal": 2}
    assert mirror.take_ignored() == {}
    assert mirror.reason == ""
