"""Endpoints as this router knows them: records from etcd, load from NATS, failures from reports."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from farsight import metrics as shared_metrics
from farsight.discovery import decode_endpoints
from farsight.errors import NoEndpoint, UnknownModel
from farsight.keys import seed_of
from farsight.log import get_logger
from farsight.pb.events_pb2 import Load
from farsight.pb.records_pb2 import EndpointRecord

log = get_logger(__name__)

MAX_LOAD_BYTES = 4096
MAX_INHIBIT_FACTOR = 16


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One engine rank, from its record."""

    endpoint_id: str
    url: str
    pool: str
    model: str
    lora_names: tuple[str, ...]
    data_parallel_rank: int
    accelerator: str
    block_size_tokens: int
    key_block_tokens: int
    model_fingerprint: str
    max_model_len_tokens: int
    tokenizer: str
    epoch: int

    def key_seed(self, model: str) -> int:
        """Seed of the block keys of a prompt for the model or one of its adapters."""
        lora = model if model in self.lora_names else ""
        return seed_of(self.model_fingerprint, lora, self.key_block_tokens)


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """The engine's own gauges, and when they came."""

    received_s: float
    running_requests: int
    waiting_requests: int
    kv_usage_ratio: float


@dataclass(slots=True)
class _Inhibition:
    until_s: float = 0.0
    failures: int = 0


def endpoint_of(record: EndpointRecord) -> Endpoint:
    """The part of a record that routing needs."""
    return Endpoint(
        record.endpoint_id,
        record.url,
        record.pool,
        record.model,
        tuple(record.lora_names),
        record.data_parallel_rank,
        record.accelerator,
        record.block_size_tokens,
        record.key_block_tokens,
        record.model_fingerprint or record.model,
        record.max_model_len_tokens,
        record.tokenizer,
        record.epoch,
    )


class Fleet:
    """The only source of candidates: an endpoint without a record is never chosen."""

    def __init__(self, inhibit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._inhibit_s = inhibit_s
        self._endpoints: dict[str, Endpoint] = {}
        self._by_model: dict[str, tuple[Endpoint, ...]] = {}
        self._seen_models: set[str] = set()
        self._loads: dict[str, EngineLoad] = {}
        self._inhibitions: dict[str, _Inhibition] = {}

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """Every endpoint that has a record, by id."""
        return self._endpoints

    @property
    def models(self) -> tuple[str, ...]:
        """Models and adapters that an endpoint serves now."""
        return tuple(sorted(self._by_model))

    def update(self, values: Mapping[str, bytes]) -> None:
        """Take the mapping under ENDPOINTS_PREFIX."""
        records = decode_endpoints(values)
        fresh = {key: endpoint_of(record) for key, record in records.items()}
        for gone in self._endpoints.keys() - fresh.keys():
            self._loads.pop(gone, None)
            self._inhibitions.pop(gone, None)
            log.info("endpoint left", extra={"endpoint": gone})
        for key, endpoint in fresh.items():
            known = self._endpoints.get(key)
            if known is None:
                log.info("endpoint joined", extra={"endpoint": key, "url": endpoint.url})
            if known is None or known.epoch != endpoint.epoch:
                self._inhibitions.pop(key, None)
        by_model: dict[str, list[Endpoint]] = {}
        for _, endpoint in sorted(fresh.items()):
            for name in (endpoint.model, *endpoint.lora_names):
                by_model.setdefault(name, []).append(endpoint)
        self._endpoints = fresh
        self._by_model = {name: tuple(found) for name, found in by_model.items()}
        self._seen_models |= self._by_model.keys()

    def on_load(self, subject: str, data: bytes) -> None:
        """Take one Load message."""
        try:
            load = Load.FromString(data) if len(data) <= MAX_LOAD_BYTES else None
        except DecodeError:
            load = None
        if load is None or not 0 <= load.kv_usage_ratio <= 1.5:
            shared_metrics.bad_records.labels("load").inc()
            return
        if load.endpoint_id in self._endpoints:
            self._loads[load.endpoint_id] = EngineLoad(
                self._clock(), load.running_requests, load.waiting_requests, load.kv_usage_ratio
            )

    def serving(self, model: str, exclude: Collection[str]) -> tuple[Endpoint, ...]:
        """Endpoints of a model, sorted by id.

        :raises UnknownModel: no endpoint has ever served it.
        :raises NoEndpoint: none serves it now, or all are excluded.
        """
        found = self._by_model.get(model)
        if found is None:
            if model in self._seen_models:
                raise NoEndpoint(f"no endpoint of model {model!r} is registered now")
            if not self._by_model and not self._seen_models:
                raise NoEndpoint("no endpoint of any model is registered yet")
            raise UnknownModel(model, self.models)
        left = tuple(e for e in found if e.endpoint_id not in exclude) if exclude else found
        if not left:
            raise NoEndpoint(f"all {len(found)} endpoints of model {model!r} are excluded")
        return left

    def load_of(self, endpoint_id: str) -> EngineLoad | None:
        """The engine's last load report."""
        return self._loads.get(endpoint_id)

    def load_age_ms(self, endpoint_id: str) -> float:
        """Age of the engine's last load report; infinite when there is none."""
        load = self._loads.get(endpoint_id)
        return float("inf") if load is None else (self._clock() - load.received_s) * 1000

    def is_inhibited(self, endpoint_id: str) -> bool:
        """The endpoint failed moments ago."""
        inhibition = self._inhibitions.get(endpoint_id)
        return inhibition is not None and self._clock() < inhibition.until_s

    def failed(self, endpoint_id: str) -> None:
        """A request could not be served: leave the endpoint out, longer with each failure."""
        if endpoint_id not in self._endpoints:
            return
        inhibition = self._inhibitions.setdefault(endpoint_id, _Inhibition())
        factor = min(2**inhibition.failures, MAX_INHIBIT_FACTOR)
        inhibition.failures += 1
        inhibition.until_s = self._clock() + self._inhibit_s * factor

    def served(self, endpoint_id: str) -> None:
        """A request was served: forget earlier failures."""
        self._inhibitions.pop(endpoint_id, None)
