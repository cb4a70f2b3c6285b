"""Encoded samples into one window per model."""

import pytest
from prometheus_client import Counter

from farsight.pb.events_pb2 import Sample
from services.trainer import metrics
from services.trainer.windows import SampleWindows
from tests.fakes.latency_samples import messages, samples


def sent(count: int, model: str = "m", first: int = 0) -> list[Sample]:
    """Samples as routers send them."""
    return messages(samples(count, seed=1), model, first)


def value(counter: Counter, label: str) -> float:
    """What a counter says of a label."""
    return float(counter.labels(label)._value.get())


def test_each_model_has_a_window_of_its_own() -> None:
    """Made with its first sample, and bounded on its own."""
    windows = SampleWindows(max_models=5, window_samples=10)

    for sample in [*sent(4, "a"), *sent(25, "b")]:
        windows.take(sample.SerializeToString())

    assert {model: len(window) for model, window in windows.by_model.items()} == {"a": 4, "b": 10}


def test_the_mapping_shows_what_comes_later() -> None:
    """A trainer that was given it once sees new models and new samples."""
    windows = SampleWindows(max_models=5, window_samples=10)
    seen = windows.by_model

    windows.take(sent(1)[0].SerializeToString())

    assert list(seen) == ["m"]
    assert len(seen["m"]) == 1


def test_a_sample_counts_once() -> None:
    """A stream that is read again changes nothing; the repetition is counted as refused."""
    windows = SampleWindows(max_models=5, window_samples=10)
    taken, refused = value(metrics.samples, "completed"), value(metrics.refused, "known-or-old")

    for sample in sent(3) * 2:
        windows.take(sample.SerializeToString())

    assert windows.by_model["m"].added == 3
    assert value(metrics.samples, "completed") == taken + 3
    assert value(metrics.refused, "known-or-old") == refused + 3


def test_one_model_too_many_is_refused_and_the_known_ones_go_on() -> None:
    """Names cannot fill the memory."""
    windows = SampleWindows(max_models=2, window_samples=10)
    refused = value(metrics.refused, "too-many-models")

    for number, model in enumerate("abca"):
        windows.take(sent(1, model, first=number)[0].SerializeToString())

    assert {model: len(window) for model, window in windows.by_model.items()} == {"a": 2, "b": 1}
    assert value(metrics.refused, "too-many-models") == refused + 1


@pytest.mark.parametrize("outcome", ["cancelled", "failed"])
def test_only_completed_requests_are_labels(outcome: str) -> None:
    """The others are counted under what became of them, and make no window."""
    windows = SampleWindows(max_models=2, window_samples=10)
    (sample,) = sent(1)
    sample.outcome = Sample.Outcome.Value(f"OUTCOME_{outcome.upper()}")
    before = value(metrics.samples, outcome)

    windows.take(sample.SerializeToString())

    assert not windows.by_model
    assert value(metrics.samples, outcome) == before + 1


def test_what_is_no_sample_is_counted_and_harms_nobody() -> None:
    """Neither bytes that do not parse nor another schema."""
    windows = SampleWindows(max_models=2, window_samples=10)
    malformed, schema = value(metrics.refused, "malformed"), value(metrics.refused, "schema")
    strange, good = sent(2)
    strange.schema_hash = "other"

    for data in (b"\xff\xff", strange.SerializeToString(), good.SerializeToString()):
        windows.take(data)

    assert len(windows.by_model["m"]) == 1
    assert value(metrics.refused, "malformed") == malformed + 1
    assert value(metrics.refused, "schema") == schema + 1
