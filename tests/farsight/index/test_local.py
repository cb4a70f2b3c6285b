"""The embedded twin of the index client."""

import numpy as np

from farsight.index.local import LocalIndex
from farsight.index.match import Confidence
from farsight.index.state import KvIndex
from tests.farsight.index.messages import Cache


async def test_the_embedded_twin_answers_from_its_index() -> None:
    """Same question, same columns."""
    index = KvIndex(lambda: 1.0, print)
    cache = Cache("a")
    index.apply(cache.store(1, 2))
    index.heard(cache.heartbeat())

    found = await LocalIndex(index).match(np.array([1, 2, 3], np.uint64), ["a"])

    assert found.device_blocks.tolist() == [2]
    assert found.confidence.tolist() == [Confidence.EXACT]
