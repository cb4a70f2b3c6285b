"""How long a prefix the KV groups of an engine allow, on rows of `BlockTable.held_rows`.

`valid` has a row per prefix length: bit e of `valid[i]` tells whether the first i + 1 blocks are
usable at endpoint slot e. It begins as all ones, each group's rule takes away from it, and
`longest` reads off the answer. Rows and `valid` are uint64[blocks, planes]; planes that `rows`
lacks count as not held.
"""
# mypy: disable-error-code="no-untyped-call"

import numpy as np
import numpy.typing as npt
from numba import njit

from farsight.lanes import lowest_bit

Rows = npt.NDArray[np.uint64]
"""uint64[blocks, planes]: bit e of plane p tells whether endpoint slot 64p + e holds the block."""

_ZERO = np.uint64(0)
_ONE = np.uint64(1)


def every_length(blocks: int, planes: int) -> Rows:
    """`valid` before any rule."""
    return np.full((blocks, planes), ~_ZERO)


def apply_prefix(rows: Rows, valid: Rows) -> None:
    """Every block of the prefix has to be held."""
    _suffix(rows, valid, max(len(valid), 1))


def apply_suffix(rows: Rows, valid: Rows, window: int) -> None:
    """The last `window` blocks of the prefix have to be held, or all of a shorter one.

    :param window: blocks; 0 asks for none.
    """
    if window > 0:
        _suffix(rows, valid, min(window, max(len(valid), 1)))


def apply_checkpoint(rows: Rows, valid: Rows) -> None:
    """The last block of the prefix has to be held."""
    _suffix(rows, valid, 1)


def longest(valid: Rows, members: Rows, out: npt.NDArray[np.uint32]) -> None:
    """Write the longest usable prefix of some endpoint slots, in blocks, 0 when there is none.

    :param members: uint64[planes], the slots to be answered, as far as `out` has them; others in
        `out` are left as they are.
    """
    _longest(valid, members, out)


@njit(cache=True, nogil=True)
def _suffix(rows, valid, window):  # type: ignore[no-untyped-def] # a Numba kernel
    """valid[i] &= AND of rows[i - window + 1 .. i], in a time that does not depend on the window.

    Rows are cut into runs of `window`. A window is the end of one run and the beginning of the
    next: an AND from the right, kept in `tails` for a whole run, and one from the left in `head`.
    """
    assert rows.shape[0] == valid.shape[0], "a row for each block"
    planes = min(rows.shape[1], valid.shape[1])
    head = np.empty(planes, np.uint64)
    tails = np.empty((window + 1, planes), np.uint64)
    tails[:] = ~_ZERO  # before the first block nothing is asked for
    for start in range(0, valid.shape[0], window):
        head[:] = ~_ZERO
        end = min(start + window, valid.shape[0])
        for i in range(start, end):
            for p in range(planes):
                head[p] &= rows[i, p]
                valid[i, p] &= head[p] & tails[i - start + 1, p]
        if end - start == window:
            for i in range(window - 1, -1, -1):
                for p in range(planes):
                    tails[i, p] = rows[start + i, p] & (
                        tails[i + 1, p] if i + 1 < window else ~_ZERO
                    )
    for i in range(valid.shape[0]):
        for p in range(planes, valid.shape[1]):
            valid[i, p] = _ZERO


@njit(cache=True, nogil=True)
def _longest(valid, members, out):  # type: ignore[no-untyped-def] # a Numba kernel
    planes = min(valid.shape[1], members.size)
    wanted = members.copy()
    for p in range(members.size):
        _write(members[p], p, 0, out)
    for i in range(valid.shape[0] - 1, -1, -1):
        left = _ZERO
        for p in range(planes):
            ended = valid[i, p] & wanted[p]
            wanted[p] &= ~ended
            left |= wanted[p]
            _write(ended, p, i + 1, out)
        if left == _ZERO:
            return


@njit(cache=True, nogil=True, inline="always")
def _write(bits, plane, length, out):  # type: ignore[no-untyped-def] # a Numba kernel
    while bits != _ZERO:
        at = plane * 64 + lowest_bit(bits)
        if at < out.size:
            out[at] = length
        bits &= bits - _ONE


def warm() -> None:
    """Compile or load the kernels."""
    rows = np.zeros((2, 1), np.uint64)
    apply_suffix(rows, rows, 1)
    longest(rows, np.ones(1, np.uint64), np.zeros(1, np.uint32))
