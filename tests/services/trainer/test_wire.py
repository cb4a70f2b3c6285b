"""Sample messages."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farsight.latency.features import FEATURE_COUNT
from farsight.pb.events_pb2 import Sample
from services.trainer.wire import MAX_SAMPLE_BYTES, BadSample, Outcome, decode_sample
from tests.fakes.latency_samples import messages, samples


def good() -> Sample:
    """A sample that is accepted."""
    return messages(samples(1, seed=1), "m")[0]


def test_a_sample_is_read() -> None:
    """Names, outcome, features and labels come through."""
    sent = good()

    got = decode_sample(sent.SerializeToString())

    assert (got.decision_id, got.model, got.accelerator) == ("decision-0", "m", "cpu")
    assert (got.ttft_ms, got.tpot_ms) == (sent.ttft_ms, sent.tpot_ms)
    assert got.features.tobytes() == sent.features
    assert got.outcome is Outcome.COMPLETED
    assert got.is_label


@pytest.mark.parametrize("outcome", [Sample.OUTCOME_CANCELLED, Sample.OUTCOME_FAILED])
def test_unfinished_requests_are_no_labels(outcome: Sample.Outcome.ValueType) -> None:
    """A cancelled request is not a fast one."""
    sample = good()
    sample.outcome = outcome

    assert not decode_sample(sample.SerializeToString()).is_label


def test_unmeasured_requests_are_no_labels() -> None:
    """Neither TTFT nor TPOT: nothing to learn."""
    sample = good()
    sample.ttft_ms = sample.tpot_ms = 0

    assert not decode_sample(sample.SerializeToString()).is_label


def row(value: float) -> bytes:
    """A row with one odd value."""
    features = np.ones(FEATURE_COUNT, np.float32)
    features[3] = value
    return features.tobytes()


BAD: list[tuple[str, Callable[[Sample], object]]] = [
    ("model", lambda s: s.ClearField("model")),
    ("model", lambda s: setattr(s, "model", "x" * 257)),
    ("decision", lambda s: s.ClearField("decision_id")),
    ("decision", lambda s: setattr(s, "decision_id", "x" * 257)),
    ("decision", lambda s: setattr(s, "decided_unix_ms", -5)),
    ("outcome", lambda s: s.ClearField("outcome")),
    ("schema", lambda s: setattr(s, "schema_hash", "other")),
    ("features", lambda s: setattr(s, "features", bytes(44))),
    ("features", lambda s: setattr(s, "features", row(np.nan))),
    ("features", lambda s: setattr(s, "features", row(np.inf))),
    ("features", lambda s: setattr(s, "features", row(-1))),
    ("latency", lambda s: setattr(s, "ttft_ms", np.nan)),
    ("latency", lambda s: setattr(s, "ttft_ms", -1)),
    ("latency", lambda s: setattr(s, "tpot_ms", np.inf)),
    ("latency", lambda s: setattr(s, "tpot_ms", 1e9)),
    ("size", lambda s: setattr(s, "request_id", "x" * MAX_SAMPLE_BYTES)),
]


@pytest.mark.parametrize(("kind", "spoil"), BAD)
def test_bad_samples_are_refused_by_kind(kind: str, spoil: Callable[[Sample], object]) -> None:
    """Each field has bounds."""
    sample = good()
    spoil(sample)

    with pytest.raises(BadSample) as refusal:
        decode_sample(sample.SerializeToString())

    assert refusal.value.kind == kind


@given(st.binary(max_size=300))
def test_noise_is_refused(data: bytes) -> None:
    """No bytes crash the decoder."""
    with pytest.raises(BadSample):
        decode_sample(data)
