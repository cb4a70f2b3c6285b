"""The sample window."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.window import SampleWindow
from services.trainer.wire import Observation, decode_sample
from tests.fakes.latency_samples import messages, samples


def observations(count: int, first: int = 0) -> list[Observation]:
    """Samples of consecutive decisions."""
    return [
        decode_sample(message.SerializeToString())
        for message in messages(samples(count, seed=first), "m", first)
    ]


def test_the_newest_are_kept() -> None:
    """A full window drops its oldest sample."""
    window = SampleWindow(10)
    taken = observations(25)

    assert all(window.add(sample) for sample in taken)

    assert len(window) == 10
    assert window.training_set().ttft_ms.tolist() == [s.ttft_ms for s in taken[-10:]]


def test_a_stream_read_again_changes_nothing() -> None:
    """Known decisions and those older than the window are dropped."""
    window = SampleWindow(10)
    taken = observations(25)
    for sample in taken:
        window.add(sample)
    before = window.training_set()

    assert not any(window.add(sample) for sample in taken)

    assert np.array_equal(window.training_set().features, before.features)
    assert window.added == 25


@given(st.permutations(range(12)))
def test_samples_come_out_in_decision_order(order: list[int]) -> None:
    """Whatever order requests finish in, the fit sees them as they were decided."""
    window = SampleWindow(20)
    taken = observations(12)

    for i in order:
        window.add(taken[i])

    assert window.training_set().ttft_ms.tolist() == [s.ttft_ms for s in taken]
