"""Positions in a prompt as bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farsight import positions
from farsight.errors import InvalidField

POSITION = st.integers(0, 2**30)


def bucket(position: int) -> int:
    """Of one position."""
    return int(positions.bucket_of(np.array([position]))[0])


@settings(deadline=None)
@given(POSITION, POSITION)
def test_buckets_rise_with_positions(one: int, other: int) -> None:
    """A block is never in an earlier bucket than its ancestors, and known is never unknown."""
    early, late = sorted((one, other))
    assert bucket(early) <= bucket(late) < positions.UNKNOWN


@settings(deadline=None)
@given(POSITION)
def test_a_bucket_is_at_most_an_eighth_wide(position: int) -> None:
    """Positions an eighth apart are told apart, and the first 16 all are."""
    assert bucket(position) < bucket(position + position // 8 + 1)
    assert position >= 16 or bucket(position) == position


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**17), st.integers(0, 300)), max_size=5))
def test_spans_tell_the_position_of_each_key(spans: list[tuple[int, int]]) -> None:
    """Keys of a span follow one another; short and long prompts alike."""
    count = sum(n for _, n in spans)

    found = positions.of_spans([n for span in spans for n in span], count, "spans")

    wanted = [at for first, n in spans for at in range(first, first + n)]
    if spans:
        assert found is not None
        assert found.tolist() == [bucket(at) for at in wanted]
    else:
        assert found is None


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), max_size=40))
def test_counts_tell_the_position_of_each_key(counts: list[int]) -> None:
    """Keys come by rising position, so many at each."""
    found = positions.of_counts(counts, sum(counts), "position_counts")

    wanted = [bucket(at) for at, n in enumerate(counts) for _ in range(n)]
    assert (found is None) == (not counts)
    assert found is None or found.tolist() == wanted


@pytest.mark.parametrize("spans", [[0, 2], [0, 4], [0, 3, 9], [5]])
def test_spans_that_do_not_cover_the_keys_are_refused(spans: list[int]) -> None:
    """The field is named."""
    with pytest.raises(InvalidField, match="spans"):
        positions.of_spans(spans, 3, "spans")


def test_counts_that_do_not_add_up_are_refused() -> None:
    """The field is named."""
    with pytest.raises(InvalidField, match="position_counts"):
        positions.of_counts([1, 1], 3, "position_counts")


def test_more_counts_than_positions_can_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would take memory that no key pays for."""
    monkeypatch.setattr(positions, "MAX_COUNTS", 2)
    with pytest.raises(InvalidField, match="position_counts"):
        positions.of_counts([1, 0, 0], 1, "position_counts")


def test_spans_without_keys_are_passed_over() -> None:
    """A few bytes each, they cost little."""
    found = positions.of_spans([7, 0, 5, 1, 9, 0, 70_000, 2], 3, "spans")

    assert found is not None
    assert found.tolist() == [bucket(5), bucket(70_000), bucket(70_001)]
