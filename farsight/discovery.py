"""What lies where in etcd, and records in and out.

Records are the messages of `proto/records.proto` as JSON, so that `etcdctl get` shows them.
"""

import re
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import urlsplit

from google.protobuf import json_format
from google.protobuf.message import Message

from farsight import metrics
from farsight.addresses import split_host_port
from farsight.errors import BadRecord, InvalidField
from farsight.log import get_logger
from farsight.pb.records_pb2 import BundlePointer, EndpointRecord, ServiceRecord
from farsight.subjects import token

log = get_logger(__name__)

ENDPOINTS_PREFIX = "/farsight/endpoints/"
SERVICES_PREFIX = "/farsight/services/"
INDEXERS_PREFIX = SERVICES_PREFIX + "indexer/"
BUNDLES_PREFIX = "/farsight/bundles/"
PROFILES_PREFIX = "/farsight/profiles/"
TRAINER_ELECTION_KEY = "/farsight/election/trainer"

MAX_RECORD_BYTES = 64 * 1024
ENDPOINT_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

M = TypeVar("M", bound=Message)


def endpoint_key(endpoint_id: str) -> str:
    """Key of an endpoint's record."""
    return ENDPOINTS_PREFIX + endpoint_id


def service_key(kind: str, replica_id: str) -> str:
    """Key of a service replica's record."""
    return f"{SERVICES_PREFIX}{kind}/{replica_id}"


def bundle_key(model: str) -> str:
    """Key of a model's live bundle pointer."""
    return BUNDLES_PREFIX + token(model)


def encode_record(record: Message) -> bytes:
    """The record as JSON."""
    text: str = json_format.MessageToJson(record, preserving_proto_field_name=True, indent=None)
    return text.encode()


def _decode(data: bytes, message: M) -> M:
    if len(data) > MAX_RECORD_BYTES:
        raise BadRecord(f"record of {len(data)} bytes, expected at most {MAX_RECORD_BYTES}")
    try:
        json_format.Parse(data, message, ignore_unknown_fields=True, max_recursion_depth=10)
    except (json_format.ParseError, UnicodeDecodeError) as error:
        raise BadRecord(str(error)) from error
    return message


def _is_http_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def decode_endpoint(data: bytes) -> EndpointRecord:
    """Parse and check an endpoint record.

    :raises BadRecord: it does not parse, or a field is out of its range.
    """
    record = _decode(data, EndpointRecord())
    if not ENDPOINT_ID.fullmatch(record.endpoint_id):
        raise BadRecord(f"endpoint_id {record.endpoint_id!r}")
    if not _is_http_url(record.url):
        raise BadRecord(f"url {record.url!r}")
    if not record.model:
        raise BadRecord("model is empty")
    for name in ("block_size_tokens", "key_block_tokens"):
        if not 1 <= getattr(record, name) <= 65536:
            raise BadRecord(f"{name} {getattr(record, name)}, expected 1 to 65536")
    if record.block_size_tokens % record.key_block_tokens:
        raise BadRecord(
            f"block_size_tokens {record.block_size_tokens} is no multiple of "
            f"key_block_tokens {record.key_block_tokens}"
        )
    return record


def decode_service(data: bytes) -> ServiceRecord:
    """Parse and check a service record.

    :raises BadRecord: it does not parse or has no address.
    """
    record = _decode(data, ServiceRecord())
    if not record.kind or not record.replica_id:
        raise BadRecord("kind and replica_id are needed")
    try:
        split_host_port(record.address)
    except InvalidField as error:
        raise BadRecord(str(error)) from error
    return record


def decode_bundle_pointer(data: bytes) -> BundlePointer:
    """Parse and check a bundle pointer.

    :raises BadRecord: it does not parse, or a field is out of its range.
    """
    record = _decode(data, BundlePointer())
    if not _SHA256.fullmatch(record.sha256):
        raise BadRecord(f"sha256 {record.sha256!r}, expected 64 hex digits")
    if not record.model or not record.object_name or record.version < 1:
        raise BadRecord("model, object_name and version are needed")
    return record


def decode_endpoints(values: Mapping[str, bytes]) -> dict[str, EndpointRecord]:
    """Endpoint records by id; bad ones are counted, logged and left out."""
    records: dict[str, EndpointRecord] = {}
    for key, value in values.items():
        try:
            record = decode_endpoint(value)
            if record.endpoint_id != key:
                raise BadRecord(f"endpoint_id {record.endpoint_id!r} under key {key!r}")
            records[key] = record
        except BadRecord as error:
            metrics.bad_records.labels("endpoint").inc()
            log.warning("endpoint record refused", extra={"key": key, "error": str(error)})
    return records


def decode_services(values: Mapping[str, bytes]) -> dict[str, ServiceRecord]:
    """Service records by key; bad ones are counted, logged and left out."""
    records: dict[str, ServiceRecord] = {}
    for key, value in values.items():
        try:
            records[key] = decode_service(value)
        except BadRecord as error:
            metrics.bad_records.labels("service").inc()
            log.warning("service record refused", extra={"key": key, "error": str(error)})
    return records


def replica_addresses(values: Mapping[str, bytes]) -> set[str]:
    """Addresses of the ready replicas under a service prefix; of all when none is ready."""
    records = decode_services(values).values()
    ready = {record.address for record in records if record.ready}
    return ready or {record.address for record in records}
