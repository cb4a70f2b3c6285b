"""Gives large arrays back to the system without holding up other threads.

To free an array of hundreds of megabytes takes the system milliseconds, during which numpy keeps
the interpreter's lock. A foreign call does not: it empties the pages first, and freeing is quick.
"""

import ctypes
import mmap
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

_libc = ctypes.CDLL(None)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def empty_pages(arrays: Sequence[npt.NDArray[Any]]) -> None:
    """Give the memory of arrays that nobody reads any more back to the system; call in a thread.

    Their contents are gone, all but the bytes that share a page with something else.
    """
    for array in arrays:
        first = -(-array.ctypes.data // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (array.ctypes.data + array.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
        if end > first:
            _libc.madvise(first, end - first, mmap.MADV_DONTNEED)
