"""Records in etcd: what is written, what is refused."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from farsight import discovery, metrics
from farsight.errors import BadRecord
from farsight.pb.records_pb2 import BundlePointer, EndpointRecord, ServiceRecord

ENDPOINT = EndpointRecord(
    endpoint_id="pod-1",
    url="http://10.0.0.1:8000",
    model="org/model",
    block_size_tokens=32,
    key_block_tokens=16,
    epoch=2**63,
)
SERVICE = ServiceRecord(kind="router", replica_id="router-1", address="10.0.0.2:50051")
POINTER = BundlePointer(version=3, sha256="ab" * 32, object_name="m-3", model="org/model")
DECODERS: list[tuple[Callable[[bytes], Message], Message]] = [
    (discovery.decode_endpoint, ENDPOINT),
    (discovery.decode_service, SERVICE),
    (discovery.decode_bundle_pointer, POINTER),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def changed(record: Message, **fields: Any) -> bytes:
    """The record's JSON with some fields replaced."""
    return json.dumps({**json.loads(discovery.encode_record(record)), **fields}).encode()


@pytest.mark.parametrize(("decode", "record"), DECODERS)
def test_records_come_back(decode: Callable[[bytes], Message], record: Message) -> None:
    """As one line of JSON with the field names of the proto."""
    text = discovery.encode_record(record)

    assert decode(text) == record
    assert b"\n" not in text
    assert set(json.loads(text)) <= set(record.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize(("decode", "record"), DECODERS)
def test_fields_of_newer_versions_are_ignored(
    decode: Callable[[bytes], Message], record: Message
) -> None:
    """A fleet is upgraded one replica at a time."""
    assert decode(changed(record, invented_later={"a": [1]})) == record


@pytest.mark.parametrize(
    "fields",
    [
        {"endpoint_id": ""},
        {"endpoint_id": "a/b"},
        {"endpoint_id": "a" * 129},
        {"url": ""},
        {"url": "10.0.0.1:8000"},
        {"url": "ftp://h/"},
        {"url": "http://"},
        {"url": "http://[::1"},
        {"url": "http://h:99999"},
        {"url": "http://h:port"},
        {"model": ""},
        {"block_size_tokens": 0},
        {"key_block_tokens": 0},
        {"key_block_tokens": 65537},
        {"block_size_tokens": 24},
        {"block_size_tokens": -1},
        {"block_size_tokens": "many"},
        {"pool": "p" * 70_000},
    ],
    ids=str,
)
def test_bad_endpoints_are_refused(fields: dict[str, Any]) -> None:
    """A field out of its range is a BadRecord and nothing else."""
    with pytest.raises(BadRecord):
        discovery.decode_endpoint(changed(ENDPOINT, **fields))


@pytest.mark.parametrize(
    "fields",
    [{"kind": ""}, {"replica_id": ""}, {"address": "10.0.0.2"}, {"address": "h:"}, {"address": ""}],
    ids=str,
)
def test_bad_services_are_refused(fields: dict[str, Any]) -> None:
    """Who, and where, must be said."""
    with pytest.raises(BadRecord):
        discovery.decode_service(changed(SERVICE, **fields))


@pytest.mark.parametrize(
    "fields",
    [{"sha256": "AB" * 32}, {"sha256": "ab"}, {"version": 0}, {"object_name": ""}, {"model": ""}],
    ids=str,
)
def test_bad_pointers_are_refused(fields: dict[str, Any]) -> None:
    """A bundle is loaded only by its whole digest."""
    with pytest.raises(BadRecord):
        discovery.decode_bundle_pointer(changed(POINTER, **fields))


@pytest.mark.parametrize(("decode", "record"), DECODERS)
@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 10_000, b'{"a":1}{'])
def test_what_is_no_json_object_is_refused(
    decode: Callable[[bytes], Message], record: Message, data: bytes
) -> None:
    """Torn, nested without end, or not text."""
    with pytest.raises(BadRecord):
        decode(data)


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_record_or_bad(data: bytes) -> None:
    """No other error comes out of a decoder."""
    for decode, _ in DECODERS:
        with pytest.raises(BadRecord):
            decode(data)


@given(st.sampled_from(sorted(EndpointRecord.DESCRIPTOR.fields_by_name)), JSON)
def test_any_value_of_a_field_is_a_record_or_bad(name: str, value: object) -> None:
    """One field of a good record is anything at all."""
    try:
        record = discovery.decode_endpoint(changed(ENDPOINT, **{name: value}))
    except BadRecord:
        return

    assert record.block_size_tokens % record.key_block_tokens == 0


def test_one_bad_record_does_not_hide_the_others() -> None:
    """It is counted and left out, as is one that lies under another's key."""
    bad = metrics.bad_records.labels("endpoint")
    before = bad._value.get()
    good = discovery.encode_record(ENDPOINT)

    found = discovery.decode_endpoints({"pod-1": good, "pod-2": good, "pod-3": b"nonsense"})

    assert found == {"pod-1": ENDPOINT}
    assert bad._value.get() == before + 2


def test_services_are_kept_by_key() -> None:
    """Bad ones are counted and left out."""
    bad = metrics.bad_records.labels("service")
    before = bad._value.get()

    found = discovery.decode_services(
        {"router/router-1": discovery.encode_record(SERVICE), "router/x": b"{}"}
    )

    assert found == {"router/router-1": SERVICE}
    assert bad._value.get() == before + 1


def test_ready_replicas_are_preferred() -> None:
    """A replica that still waits for something is asked only when no other one is ready."""
    waiting = ServiceRecord(kind="router", replica_id="a", address="127.0.0.1:1")
    ready = ServiceRecord(kind="router", replica_id="b", address="127.0.0.1:2", ready=True)
    values = {"a": discovery.encode_record(waiting), "b": discovery.encode_record(ready)}

    assert discovery.replica_addresses(values) == {"127.0.0.1:2"}
    assert discovery.replica_addresses({"a": values["a"]}) == {"127.0.0.1:1"}
