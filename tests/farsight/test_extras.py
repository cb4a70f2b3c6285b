"""What is hashed beside the tokens of a whole prompt."""

import numpy as np
import pytest

from farsight.extras import item_part, prompt_extras, salt_part
from farsight.keys import extra_of
from services.sidecar.extras import fold


def test_golden_extras() -> None:
    """These constants are for ever: fleets of mixed versions share keys."""
    assert extra_of(salt_part("tenant-a")) == 0xBE4A02E4F4E1F177
    assert extra_of(item_part("img", 5)) == GOLDEN_ITEM
    assert extra_of(item_part("img", 5) + salt_part("t")) == GOLDEN_BOTH


def test_nothing_beside_the_tokens_gives_none() -> None:
    """The usual case costs no array."""
    assert prompt_extras("", [], 16) is None


def test_a_salt_marks_block_0_only() -> None:
    """The chain carries it on."""
    extras = prompt_extras("tenant-a", [], 16)

    assert extras is not None
    assert extras.tolist() == [extra_of(salt_part("tenant-a"))]


def test_items_mark_the_blocks_in_which_they_start() -> None:
    """With the offset in the block, in the order of the prompt, before the salt."""
    extras = prompt_extras("s", [("b", 37), ("a", 0)], 16)

    assert extras is not None
    assert extras.tolist() == [
        extra_of(item_part("a", 0) + salt_part("s")),
        0,
        extra_of(item_part("b", 5)),
    ]


@pytest.mark.parametrize("block", [16, 32, 64])
def test_sidecar_and_router_come_to_the_same(block: int) -> None:
    """An engine tells items block by block, a request in one list."""
    items = [("a", 3), ("b", 9), ("c", 70), ("a", 100)]
    told = [
        [
            (name, at - i * block)
            for name, at in items
            if at < (i + 1) * block and at >= i * block - 20
        ]
        for i in range(128 // block)
    ]
    wire = [
        [*([[n, at] for n, at in values]), *(["s"] if i == 0 else [])]
        for i, values in enumerate(told)
    ]

    ours = prompt_extras("s", items, 16)
    theirs = fold(wire, "", True, block, 16)

    assert ours is not None
    assert theirs is not None
    assert np.trim_zeros(theirs, "b").tolist() == ours.tolist()


GOLDEN_ITEM = 0x9D002EB7A782AFE7
GOLDEN_BOTH = 0xD66419DB1777F6A0
