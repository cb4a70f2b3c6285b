"""What is hashed beside the tokens, folded into extras."""

from typing import Any

import numpy as np
import pytest

from farsight.keys import extra_of
from services.sidecar.extras import fold


def folded(
    extra_keys: list[list[Any] | None] | None,
    *,
    lora: str = "",
    starts: bool = True,
    block: int = 16,
) -> list[int] | None:
    """Extras as plain ints."""
    extras = fold(extra_keys, lora, starts, block, 16)
    return None if extras is None else [int(extra) for extra in extras]


SALT = extra_of([b"salt", b"tenant-a"])


def test_salt_counts_at_token_0_only() -> None:
    """The same text on another block is something else."""
    first = folded([["tenant-a"], None])
    later = folded([None, ["tenant-a"]])

    assert first == [SALT, 0]
    assert later is not None
    assert later[0] == 0
    assert later[1] not in (0, SALT)


def test_adapter_name_is_dropped_once() -> None:
    """Its copy in front is in the seed already; a salt of the same text is still a salt."""
    assert folded([["ad"], ["ad"]], lora="ad") is None
    assert folded([["ad", "tenant-a"]], lora="ad") == [SALT]
    assert folded([["ad", "ad"]], lora="ad") == [extra_of([b"salt", b"ad"])]


def test_multimodal_item_counts_where_it_starts() -> None:
    """With the offset inside its canonical block; blocks that it only reaches into inherit it."""
    extras = folded([[["img", 5]], [["img", -11]]])

    assert extras == [extra_of([b"mm", b"img", b"5"]), 0]


@pytest.mark.parametrize("block", [16, 32, 64])
def test_multimodal_extras_do_not_depend_on_the_engine_block(block: int) -> None:
    """An item at token 37 marks canonical block 2 at offset 5, whatever the engine's blocks are."""
    at, count = 37, 64 // block
    offsets = [at - i * block for i in range(count)]
    keys = [[["img", offset]] if offset < block else None for offset in offsets]

    assert folded(keys, block=block) == [0, 0, extra_of([b"mm", b"img", b"5"]), 0]


def test_offset_tells_the_same_item_apart() -> None:
    """One image at two places within a block gives two extras."""
    assert folded([[["img", 3]]]) != folded([[["img", 4]]])


def test_parts_of_one_block_are_hashed_together_in_wire_order() -> None:
    """Items first, then the salt."""
    extras = folded([[["a", 0], ["b", 9], "tenant-a"]])

    assert extras == [
        extra_of([b"mm", b"a", b"0", b"mm", b"b", b"9", b"salt", b"tenant-a"]),
    ]


@pytest.mark.parametrize("value", [b"digest", 7, None, ["img"], ["img", 99], {"a": 1}])
def test_what_is_not_known_still_separates(value: Any) -> None:
    """A block with an unknown extra must not be taken for one without."""
    extras = folded([[value]])

    assert extras is not None
    assert extras[0] not in (0, SALT)


def test_nothing_gives_none() -> None:
    """The usual case costs no array."""
    assert folded(None) is None
    assert folded([None, None]) is None
    assert folded([[]]) is None
    assert fold([[["img", -1]]], "", True, 16, 16) is None
    assert np.uint64 is fold([["s"]], "", True, 16, 16).dtype.type  # type: ignore[union-attr]
