"""Everything that `farsight status` reads from etcd."""

import asyncio
from dataclasses import dataclass

from farsight import discovery
from farsight.cli.records import decode_all, list_services
from farsight.etcd import Etcd
from farsight.pb.records_pb2 import BundlePointer, EndpointRecord, ServiceRecord


@dataclass(frozen=True, slots=True)
class Records:
    """What is registered and published."""

    services: tuple[ServiceRecord, ...]
    endpoints: tuple[EndpointRecord, ...]
    leased_endpoints: frozenset[str]
    pointers: tuple[BundlePointer, ...]
    trainer_leader: str | None
    refused: tuple[str, ...]
    """Records that do not parse, in words."""


async def read_records(etcd: Etcd) -> Records:
    """Read all records at the same time.

    :raises EtcdUnavailable: etcd did not answer.
    """
    services, endpoints, leased, bundles, leader = await asyncio.gather(
        list_services(etcd),
        etcd.list_prefix(discovery.ENDPOINTS_PREFIX),
        etcd.leased_keys(discovery.ENDPOINTS_PREFIX),
        etcd.list_prefix(discovery.BUNDLES_PREFIX),
        etcd.get(discovery.TRAINER_ELECTION_KEY),
    )
    endpoint_list = decode_all(discovery.ENDPOINTS_PREFIX, endpoints[0], discovery.decode_endpoint)
    bundle_list = decode_all(discovery.BUNDLES_PREFIX, bundles[0], discovery.decode_bundle_pointer)
    return Records(
        services=services.records,
        endpoints=endpoint_list.records,
        leased_endpoints=leased,
        pointers=bundle_list.records,
        trainer_leader=None if leader is None else leader.decode(errors="replace"),
        refused=(*services.refused, *endpoint_list.refused, *bundle_list.refused),
    )
