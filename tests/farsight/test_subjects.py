"""Escaping for NATS subjects and etcd keys."""

from hypothesis import given
from hypothesis import strategies as st

from farsight import discovery, subjects

TEXT = st.text(min_size=1, max_size=40)
ALPHABET = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-=")


@given(TEXT, TEXT)
def test_different_names_stay_different(one: str, other: str) -> None:
    """No two texts share a token."""
    assert (subjects.token(one) == subjects.token(other)) == (one == other)


@given(TEXT)
def test_any_name_is_one_token(text: str) -> None:
    """Nothing in it means anything to NATS, to etcd paths or to an object store."""
    assert set(subjects.token(text)) <= ALPHABET


def test_ids_are_left_readable() -> None:
    """Endpoint and replica ids need no escape; model names do."""
    assert subjects.delta("pod-1_0") == "farsight.kv.delta.pod-1_0"
    assert subjects.load("pod-1") == "farsight.load.pod-1"
    assert subjects.snapshot("pod-1") == "farsight.kv.snapshot.pod-1"
    assert subjects.inflight("router-1") == "farsight.inflight.router-1"
    assert subjects.sample("org/model-8b.v1") == "farsight.sample.org=2Fmodel-8b=2Ev1"


def test_wildcards_cover_their_subjects() -> None:
    """One token each."""
    pairs = (
        (subjects.DELTA_ALL, subjects.delta("a.b")),
        (subjects.LOAD_ALL, subjects.load("a.b")),
        (subjects.INFLIGHT_ALL, subjects.inflight("a.b")),
        (subjects.SAMPLE_ALL, subjects.sample("a.b")),
    )
    for wildcard, subject in pairs:
        assert wildcard.endswith(".*")
        assert subject.rpartition(".")[0] == wildcard.removesuffix(".*")


def test_keys_of_records() -> None:
    """Where records lie in etcd."""
    assert discovery.endpoint_key("pod-1") == "/farsight/endpoints/pod-1"
    assert discovery.service_key("router", "r-1") == "/farsight/services/router/r-1"
    assert discovery.bundle_key("org/m") == "/farsight/bundles/org=2Fm"
