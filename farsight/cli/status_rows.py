"""Rows of the status page from records and replies."""

from collections.abc import Iterator, Mapping, Sequence

from farsight.cli.enums import confidence_name, known_age_ms
from farsight.cli.status_records import Records
from farsight.cli.status_report import (
    Bundle,
    Endpoint,
    EndpointLoad,
    IndexSource,
    LoadedBundle,
    Service,
)
from farsight.pb.index_pb2 import IndexStatusReply
from farsight.pb.predictor_pb2 import PredictorStatusReply
from farsight.pb.records_pb2 import EndpointRecord, ServiceRecord
from farsight.pb.router_pb2 import RouterStatusReply


def service_row(record: ServiceRecord, health: str, now_s: float) -> Service:
    """A replica; `now_s` is Unix time."""
    return Service(
        kind=record.kind,
        replica_id=record.replica_id,
        address=record.address,
        health=health,
        uptime_s=max(0.0, now_s - record.started_unix_ms / 1000),
        version=record.version,
    )


def endpoint_row(record: EndpointRecord, is_leased: bool) -> Endpoint:
    """An endpoint."""
    return Endpoint(
        endpoint_id=record.endpoint_id,
        url=record.url,
        pool=record.pool,
        model=record.model,
        lora_names=tuple(record.lora_names),
        block_size_tokens=record.block_size_tokens,
        kv_blocks=record.kv_blocks,
        epoch=record.epoch,
        is_leased=is_leased,
    )


def bundle_rows(
    records: Records, predictors: Mapping[str, PredictorStatusReply], now_s: float
) -> Iterator[Bundle]:
    """One for each model that is served or has a bundle."""
    pointers = {pointer.model: pointer for pointer in records.pointers}
    for model in sorted({record.model for record in records.endpoints} | pointers.keys()):
        pointer = pointers.get(model)
        yield Bundle(
            model=model,
            version=pointer.version if pointer else 0,
            age_s=max(0.0, now_s - pointer.trained_unix_ms / 1000) if pointer else None,
            sample_count=pointer.sample_count if pointer else 0,
            loaded=tuple(
                LoadedBundle(predictor, _version(reply, model))
                for predictor, reply in predictors.items()
            ),
        )


def _version(reply: PredictorStatusReply, model: str) -> int:
    return max((b.version for b in reply.bundles if b.model == model), default=0)


def index_rows(indexers: Mapping[str, IndexStatusReply]) -> Sequence[IndexSource]:
    """Every source of every indexer, by endpoint."""
    rows = [
        IndexSource(
            endpoint_id=source.endpoint_id,
            indexer=indexer,
            confidence=confidence_name(source.confidence),
            reason=source.reason,
            epoch=source.epoch,
            lag_deltas=max(0, source.announced_seq - source.applied_seq),
            age_ms=known_age_ms(source.age_ms),
            device_blocks=source.device_blocks,
            host_blocks=source.host_blocks,
        )
        for indexer, reply in indexers.items()
        for source in reply.sources
    ]
    return sorted(rows, key=lambda row: (row.endpoint_id, row.indexer))


def load_rows(routers: Mapping[str, RouterStatusReply]) -> Sequence[EndpointLoad]:
    """Every endpoint of every router, by endpoint."""
    rows = [
        EndpointLoad(
            endpoint_id=endpoint.endpoint_id,
            router=router,
            load_age_ms=known_age_ms(endpoint.load_age_ms),
            is_inhibited=endpoint.inhibited,
            cached_drift_tokens=endpoint.cached_drift_tokens,
        )
        for router, reply in routers.items()
        for endpoint in reply.endpoints
    ]
    return sorted(rows, key=lambda row: (row.endpoint_id, row.router))
