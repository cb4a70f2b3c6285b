"""Where blocks stand in their prompts, in one byte each: what goes first when memory is short.

The first 16 positions have a bucket each, then every doubling has 8, so a bucket is at most an
eighth too coarse and 2^30 positions fit. Buckets rise with positions: a block's ancestors are never
in a later bucket than the block.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from farsight.errors import InvalidField

Buckets = npt.NDArray[np.uint8]

UNKNOWN = 255
MAX_COUNTS = 1 << 22  # positions that counts may speak of; a prompt has far fewer
_LINEAR = 16
_PER_DOUBLING = 8


def bucket_of(positions: npt.NDArray[np.int64]) -> Buckets:
    """Bucket of each position; positions are 0-based and below 2^31."""
    at = np.maximum(positions, 1).astype(np.float64)
    octave = np.log2(at).astype(np.int64)
    step = (positions >> np.maximum(octave - 3, 0)) - _PER_DOUBLING
    coarse = _LINEAR + (octave - 4) * _PER_DOUBLING + step
    return np.where(positions < _LINEAR, positions, coarse).astype(np.uint8)


_MAX_CACHED = 1 << 16
_CACHED = bucket_of(np.arange(_MAX_CACHED))


def _buckets(first: int, count: int) -> Buckets:
    """Buckets of `count` positions from `first` on."""
    if first + count <= _MAX_CACHED:
        return _CACHED[first : first + count]
    return bucket_of(np.arange(first, first + count))


def of_spans(spans: Sequence[int], count: int, field: str) -> Buckets | None:
    """Buckets of `count` keys in spans, pairs of first position and number; None without any.

    :raises InvalidField: the spans do not cover the keys.
    """
    if not spans:
        return None
    if len(spans) == 2 and spans[1] == count:  # the usual case
        return _buckets(spans[0], count)
    given = np.array(spans, np.int64)
    starts, counts = given[::2], given[1::2]
    if starts.size != counts.size or int(counts.sum()) != count:
        raise InvalidField(field, f"pairs of position and number for {count} keys")
    # The n-th key stands n places after its span's first key would, did the span begin at key 0.
    shifts = starts - np.cumsum(counts, dtype=np.int64) + counts
    at: npt.NDArray[np.int64] = np.repeat(shifts, counts) + np.arange(count)
    return _CACHED[at] if at.max(initial=0) < _MAX_CACHED else bucket_of(at)


def of_counts(counts: Sequence[int], count: int, field: str) -> Buckets | None:
    """Buckets of `count` keys in the order of their positions; None without counts.

    :raises InvalidField: the counts do not add up to the keys.
    """
    if not counts:
        return None
    if len(counts) > MAX_COUNTS or sum(counts) != count:
        raise InvalidField(field, f"at most {MAX_COUNTS} counts that add up to {count} keys")
    return np.repeat(_buckets(0, len(counts)), counts)
