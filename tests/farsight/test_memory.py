"""Memory of arrays that nobody needs any more."""

import numpy as np
import psutil

from farsight.memory import empty_pages


def test_emptied_arrays_take_no_memory() -> None:
    """What the process has resident falls by the size of the arrays, small ones are left alone."""
    arrays = [np.ones(8 << 20), np.ones(4)]
    before = psutil.Process().memory_info().rss

    empty_pages(arrays)

    assert before - psutil.Process().memory_info().rss > 60 << 20
    assert arrays[1].sum() == 4
