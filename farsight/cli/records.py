"""Records of the fleet as they lie in etcd, with those that do not parse."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from farsight.discovery import SERVICES_PREFIX, decode_service
from farsight.errors import BadRecord
from farsight.etcd import Etcd
from farsight.pb.records_pb2 import ServiceRecord

R = TypeVar("R")


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Etcd]:
    """A client of the etcd at `address` (host:port), closed at the end.

    :raises InvalidField: the address is none.
    """
    etcd = Etcd(address)
    try:
        yield etcd
    finally:
        await etcd.close()


@dataclass(frozen=True, slots=True)
class Listing(Generic[R]):
    """Records under one prefix in key order, and what is wrong with the others, in words."""

    records: tuple[R, ...]
    refused: tuple[str, ...]


def decode_all(
    prefix: str, values: Mapping[str, bytes], decode: Callable[[bytes], R]
) -> Listing[R]:
    """Decode the values under a prefix."""
    records, refused = [], []
    for key in sorted(values):
        try:
            records.append(decode(values[key]))
        except BadRecord as error:
            refused.append(f"record {prefix}{key} is refused: {error}")
    return Listing(tuple(records), tuple(refused))


async def list_services(etcd: Etcd, kind: str = "") -> Listing[ServiceRecord]:
    """Replicas of one kind, of every kind when it is empty.

    :raises EtcdUnavailable: etcd did not answer.
    """
    prefix = f"{SERVICES_PREFIX}{kind}/" if kind else SERVICES_PREFIX
    values, _ = await etcd.list_prefix(prefix)
    return decode_all(prefix, values, decode_service)
