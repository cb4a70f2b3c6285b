"""One answer out of several."""

from collections.abc import Sequence

import numpy as np

from farsight.index.match import Confidence, Matches
from farsight.index.merge import Merge

EXACT, DEGRADED = Confidence.EXACT, Confidence.DEGRADED


def answer(*rows: tuple[str, int, Confidence, int]) -> Matches:
    """Id, device blocks, confidence and age of each endpoint."""
    ids, device, confidence, ages = zip(*rows, strict=True) if rows else ((), (), (), ())
    zeros = np.zeros(len(rows), np.uint32)
    return Matches(
        ids,
        np.array(device, np.uint32),
        zeros,
        zeros + 1,
        np.array(ages, np.uint32),
        np.array(confidence, np.uint8),
    )


def rows_of(*at: int) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
    """Rows."""
    return np.array(at, np.intp)


def seen(matches: Matches) -> list[tuple[str, int, int]]:
    """Id, device blocks and age of each endpoint."""
    columns: Sequence[list[int]] = (matches.device_blocks.tolist(), matches.age_ms.tolist())
    return list(zip(matches.endpoint_ids, *columns, strict=True))


def test_shares_come_together_in_the_order_asked() -> None:
    """Each replica answered for its own."""
    merge = Merge(("a", "b", "c"))

    merge.take(rows_of(2, 0), ("c", "a"), answer(("c", 3, EXACT, 1), ("a", 1, EXACT, 1)))
    merge.take(rows_of(1), ("b",), answer(("b", 2, DEGRADED, 9)))

    found = merge.close()
    assert seen(found) == [("a", 1, 1), ("b", 2, 9), ("c", 3, 1)]
    assert found.storage_blocks.tolist() == [1, 1, 1]
    assert found.confidence.tolist() == [EXACT, DEGRADED, EXACT]
    assert merge.exact.tolist() == [True, False, True]


def test_exact_wins_over_younger() -> None:
    """Whatever comes first."""
    for order in ((0, 1), (1, 0)):
        given = [answer(("a", 7, EXACT, 50)), answer(("a", 9, DEGRADED, 1))]
        merge = Merge(("a",))
        for i in order:
            merge.take(rows_of(0), ("a",), given[i])

        assert seen(merge.close()) == [("a", 7, 50)]


def test_among_equals_the_youngest_wins() -> None:
    """The taken rows are told."""
    merge = Merge(("a", "b"))
    first = answer(("a", 1, DEGRADED, 10), ("b", 1, DEGRADED, 10))
    second = answer(("a", 2, DEGRADED, 5), ("b", 2, DEGRADED, 20))

    assert merge.take(rows_of(0, 1), ("a", "b"), first).tolist() == [0, 1]
    assert merge.take(rows_of(0, 1), ("a", "b"), second).tolist() == [0]

    assert seen(merge.close()) == [("a", 2, 5), ("b", 1, 10)]


def test_what_nobody_knows_is_left_out() -> None:
    """And what nobody asked for is ignored."""
    merge = Merge(("a", "b"))

    merge.take(rows_of(0, 1), ("a", "b"), answer(("z", 5, EXACT, 0), ("b", 4, EXACT, 3)))

    assert merge.answered.tolist() == [False, True]
    assert seen(merge.close()) == [("b", 4, 3)]
