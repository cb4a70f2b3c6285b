"""When missing history does not matter any more."""

from collections import Counter, OrderedDict
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sidecar.mirror import Mirror
from tests.fakes.engine import EventMap
from tests.services.sidecar.events_for import LAYOUT, clear, follow, remove, store, tokens_of

POOL = 4


def lossy(pool_blocks: int = POOL, **options: Any) -> Mirror:
    """A mirror without the beginning of its engine's history."""
    mirror = Mirror(LAYOUT, pool_blocks=pool_blocks, **options)
    mirror.lose("partial-replay")
    return mirror


def block(number: int, **fields: Any) -> EventMap:
    """One block that begins a prompt is stored."""
    return store([number], tokens_of(number), **fields)


def test_a_full_pool_leaves_no_room_for_unknown_blocks() -> None:
    """Copies count, each in a block of its own."""
    mirror = lossy()

    follow(mirror, block(1), block(2), block(2))
    assert mirror.reason == "partial-replay"
    follow(mirror, block(3))
    assert mirror.reason == ""
    follow(mirror, remove(3))
    assert mirror.reason == ""


def test_blocks_that_have_left_do_not_count() -> None:
    """Nor do removals of blocks that were never known."""
    mirror = lossy()

    follow(mirror, block(1), block(2), remove(2), remove(9), block(3), block(4))

    assert mirror.reason == "partial-replay"


@pytest.mark.parametrize(
    "beside",
    [
        block(5, medium="CPU"),
        block(5, group_idx=1, kind="mamba"),
        block(5, group_idx=1, kind="cross_attention"),
    ],
)
def test_what_lies_elsewhere_stays_unknown(beside: EventMap) -> None:
    """A host tier, or another KV group."""
    mirror = lossy()

    follow(mirror, beside, *(block(number) for number in (1, 2, 3, 4)))

    assert mirror.reason == "partial-replay"


def test_partial_blocks_are_no_blocks_of_their_own() -> None:
    """A device with such hashes is never known to be full."""
    layout = LAYOUT.__class__("model", 32, 16)
    mirror = Mirror(layout, pool_blocks=2)
    mirror.lose("partial-replay")

    follow(mirror, store([1], tokens_of(1), block_size=16))
    follow(mirror, store([2], tokens_of(2, 32), block_size=32))
    follow(mirror, store([3], tokens_of(3, 32), block_size=32))

    assert mirror.reason == "partial-replay"


@pytest.mark.parametrize("pool_blocks", [0, 2])
def test_a_pool_of_another_size_says_nothing(pool_blocks: int) -> None:
    """One that is not known, or that more blocks fit into than it has."""
    mirror = lossy(pool_blocks)

    follow(mirror, block(1), block(2), block(3))
    follow(mirror, remove(3))

    assert mirror.reason == "partial-replay"


def test_a_loss_in_the_middle_is_not_made_good_by_a_full_pool() -> None:
    """Removals may be lost; only an empty device is certain."""
    mirror = lossy()
    follow(mirror, block(1))

    mirror.lose("gap")
    follow(mirror, *(block(number) for number in (2, 3, 4)))
    assert mirror.reason == "partial-replay"
    follow(mirror, clear())
    assert mirror.reason == ""


def test_without_replay_nothing_is_ever_certain() -> None:
    """The last batches may be lost at any time; neither a full pool nor an empty device helps."""
    mirror = Mirror(LAYOUT, pool_blocks=POOL)
    mirror.lose("no-replay")

    follow(mirror, *(block(number) for number in (1, 2, 3, 4)))
    assert mirror.reason == "no-replay"
    follow(mirror, clear())
    assert mirror.reason == "no-replay"


def test_a_mirror_that_goes_on_with_a_lossy_one_stays_lossy() -> None:
    """What was known before may be too much."""
    mirror = lossy()
    follow(mirror, block(1))

    again = Mirror.restore(LAYOUT, mirror.export(), pool_blocks=POOL)
    follow(again, *(block(number) for number in (2, 3, 4)))

    assert again.reason == "partial-replay"


class Pool:
    """An engine: blocks that are used again, the longest unused first.

    Contents may be equal, unless it announces again: then nobody could count them.
    """

    def __init__(self, size: int, *, announces_again: bool) -> None:
        self._free = list(range(size))
        self._cached: OrderedDict[int, int] = OrderedDict()
        self._announces_again = announces_again

    @property
    def copies(self) -> Counter[int]:
        """Physical blocks by content."""
        return Counter(self._cached.values())

    def use(self, content: int, reuse: bool) -> list[EventMap]:
        """Cache a content in a block, or use a block that has it."""
        if (reuse or self._announces_again) and content in self._cached.values():
            physical = next(at for at, held in self._cached.items() if held == content)
            self._cached.move_to_end(physical)
            return [block(content)] if self._announces_again else []
        events = []
        if self._free:
            physical = self._free.pop()
        else:
            physical, evicted = self._cached.popitem(last=False)
            events.append(remove(evicted))
        self._cached[physical] = content
        return [*events, block(content)]

    def drop(self) -> list[EventMap]:
        """A block loses its content."""
        if not self._cached:
            return []
        physical, evicted = self._cached.popitem(last=False)
        self._free.append(physical)
        return [remove(evicted)]


steps = st.tuples(st.integers(1, 8), st.booleans(), st.integers(0, 9))


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 5), st.booleans(), st.lists(steps, max_size=12), st.lists(steps, max_size=40))
def test_whoever_says_whole_is_whole(
    size: int,
    announces_again: bool,
    before: list[tuple[int, bool, int]],
    after: list[tuple[int, bool, int]],
) -> None:
    """Whatever happened before the mirror began: while it says nothing, it equals the engine."""
    pool = Pool(size, announces_again=announces_again)
    mirror = lossy(size, count_copies=not announces_again)
    for at, (content, reuse, dice) in zip(count(), [*before, *after]):
        events = pool.use(content, reuse) if dice else pool.drop()
        if at < len(before):
            continue

        follow(mirror, *events)

        if mirror.reason == "":
            assert mirror.block_count == len(pool.copies)
            keys = {key for held in mirror.contents() for key in held.keys.tolist()}
            twin = Mirror(LAYOUT)
            follow(twin, *(block(held) for held in pool.copies))
            assert keys == {key for held in twin.contents() for key in held.keys.tolist()}
