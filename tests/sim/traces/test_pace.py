"""How fast a trace is replayed."""

from typing import Any

import numpy as np
import pytest

from farsight.errors import InvalidField
from sim.traces.pace import paced
from sim.workload import Knobs

TIMES_S = np.array([100.0, 104.0, 110.0, 120.0])


@pytest.mark.parametrize(
    ("knobs", "times_s"),
    [
        ({}, [0, 4, 10, 20]),
        ({"scale": 2.0}, [0, 2, 5, 10]),
        ({"rate_per_s": 0.8}, [0, 1, 2.5, 5]),
        ({"duration_s": 10.0}, [0, 4]),
        ({"duration_s": 10.0, "scale": 2.0}, [0, 2, 5]),
    ],
)
def test_times_begin_at_zero_and_are_compressed_then_cut(
    knobs: dict[str, Any], times_s: list[float]
) -> None:
    """`duration_s` is time of the replay, not of the trace."""
    assert paced(TIMES_S, Knobs(pods=1, **knobs)).times_s.tolist() == pytest.approx(times_s)


def test_a_stage_says_the_rate_that_it_offers() -> None:
    """Also where everything comes at once."""
    compressed = paced(TIMES_S, Knobs(pods=1, scale=10.0)).stage("t", iter([]))

    assert (compressed.label, compressed.offered_per_s) == ("t 2/s", 2.0)
    assert paced(TIMES_S[:1], Knobs(pods=1)).stage("t", iter([])).offered_per_s == 1.0


def test_a_scale_and_a_rate_together_are_refused() -> None:
    """Each says how fast."""
    with pytest.raises(InvalidField, match="scale: expected it unset where rate_per_s is set"):
        paced(TIMES_S, Knobs(pods=1, scale=2.0, rate_per_s=1.0))


def test_a_rate_for_a_trace_of_one_moment_is_refused() -> None:
    """Nothing can be compressed."""
    with pytest.raises(InvalidField, match="rate_per_s: expected it unset"):
        paced(TIMES_S[:1], Knobs(pods=1, rate_per_s=1.0))
