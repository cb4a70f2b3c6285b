"""Endpoints as this router knows them: records from etcd, load from NATS, failures from reports."""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from farsight import metrics as shared_metrics
from farsight.discovery import decode_endpoints
from farsight.errors import NoEndpoint, NotReady, UnknownModel
from farsight.log import get_logger
from farsight.pb.events_pb2 import Load
from services.router.roster import Endpoint, Roster, endpoint_of

log = get_logger(__name__)

MAX_LOAD_BYTES = 4096
MAX_KV_USAGE_RATIO = 1.5
MAX_INHIBIT_FACTOR = 16

_RECEIVED_S, _RUNNING, _WAITING, _KV_USAGE, _INHIBITED_UNTIL_S = range(5)
_UNHEARD = (-np.inf, 0.0, 0.0, 0.0, -np.inf)


@dataclass(frozen=True, slots=True)
class EngineLoads:
    """The engines' own gauges, and who failed lately, as columns over a roster."""

    age_ms: npt.NDArray[np.float64]
    """Infinite where no report came."""
    running_requests: npt.NDArray[np.float64]
    waiting_requests: npt.NDArray[np.float64]
    kv_usage_ratio: npt.NDArray[np.float64]
    inhibited: npt.NDArray[np.bool_]


class Fleet:
    """The only source of candidates: an endpoint without a record is never chosen.

    Every endpoint has a slot, a column of the state, for as long as it has a record.
    """

    def __init__(self, inhibit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._inhibit_s = inhibit_s
        self._values: Mapping[str, bytes] = {}
        self._generation = 0
        self._endpoints: dict[str, Endpoint] = {}
        self._rosters: dict[str, Roster] = {}
        self._seen_models: set[str] = set()
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        self._state = np.empty((len(_UNHEARD), 0))
        self._factors: dict[str, int] = {}
        self.health_version = 0
        """Changes when an endpoint becomes inhibited, and when a served request ends that."""

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """Every endpoint that has a record, by id."""
        return self._endpoints

    @property
    def models(self) -> tuple[str, ...]:
        """Models and adapters that an endpoint serves now."""
        return tuple(sorted(self._rosters))

    def update(self, values: Mapping[str, bytes]) -> frozenset[str]:
        """Take the mapping under ENDPOINTS_PREFIX.

        :returns: endpoints that left or began a new life: what was known of their caches is void.
        """
        if values == self._values:
            return frozenset()
        self._values = values
        known = self._endpoints
        fresh = {key: endpoint_of(record) for key, record in decode_endpoints(values).items()}
        void = {e for e, old in known.items() if e not in fresh or fresh[e].epoch != old.epoch}
        for endpoint_id in void:
            self._release(endpoint_id)
        for endpoint_id in fresh.keys() - self._slots.keys():
            self._take_slot(endpoint_id)
        for endpoint_id in sorted(known.keys() - fresh.keys()):
            log.info("endpoint left", extra={"endpoint": endpoint_id})
        for endpoint_id in sorted(fresh.keys() - known.keys()):
            url = fresh[endpoint_id].url
            log.info("endpoint joined", extra={"endpoint": endpoint_id, "url": url})
        self._endpoints = fresh
        self._generation += 1
        self._rosters = self._by_model()
        self._seen_models |= self._rosters.keys()
        return frozenset(void)

    def _by_model(self) -> dict[str, Roster]:
        serving: dict[str, dict[str, Endpoint]] = {}
        for endpoint_id, endpoint in sorted(self._endpoints.items()):
            for name in (endpoint.model, *endpoint.lora_names):
                serving.setdefault(name, {})[endpoint_id] = endpoint
        return {
            name: Roster.of(
                name, self._generation, tuple(found.values()), [self._slots[e] for e in found]
            )
            for name, found in serving.items()
        }

    def _take_slot(self, endpoint_id: str) -> None:
        if not self._free:
            used = self._state.shape[1]
            added = np.tile(np.array(_UNHEARD)[:, None], (1, max(used, 16)))
            self._state = np.concatenate([self._state, added], axis=1)
            self._free = list(range(self._state.shape[1] - 1, used - 1, -1))
        self._slots[endpoint_id] = self._free.pop()

    def _release(self, endpoint_id: str) -> None:
        slot = self._slots.pop(endpoint_id)
        self._state[:, slot] = _UNHEARD
        self._free.append(slot)
        self._factors.pop(endpoint_id, None)

    def on_load(self, subject: str, data: bytes) -> None:
        """Take one Load message."""
        try:
            load = Load.FromString(data) if len(data) <= MAX_LOAD_BYTES else None
        except DecodeError:
            load = None
        if load is None or not 0 <= load.kv_usage_ratio <= MAX_KV_USAGE_RATIO:
            shared_metrics.bad_records.labels("load").inc()
            return
        slot = self._slots.get(load.endpoint_id)
        if slot is not None:
            self._state[:_INHIBITED_UNTIL_S, slot] = (
                self._clock(),
                load.running_requests,
                load.waiting_requests,
                load.kv_usage_ratio,
            )

    def serving(self, model: str, exclude: Collection[str]) -> Roster:
        """Endpoints of a model.

        :raises UnknownModel: no endpoint has ever served it.
        :raises NotReady: no endpoint is known at all yet.
        :raises NoEndpoint: none serves it now, or all are excluded.
        """
        found = self._rosters.get(model)
        if found is None:
            if model in self._seen_models:
                raise NoEndpoint(f"no endpoint of model {model!r} is registered now")
            if not self._seen_models:
                raise NotReady("no endpoint of any model is registered yet")
            raise UnknownModel(model, self.models)
        left = found.without(exclude) if exclude else found
        if left is None:
            raise NoEndpoint(f"all {len(found)} endpoints of model {model!r} are excluded")
        return left

    def is_stale(self, roster: Roster) -> bool:
        """An endpoint of the roster has left or begun a new life."""
        return roster.generation != self._generation and any(
            self._endpoints.get(e.endpoint_id) != e for e in roster.endpoints
        )

    def loads(self, roster: Roster) -> EngineLoads:
        """What the engines of a roster that is not stale last reported."""
        state = self._state[:, roster.slots]
        now = self._clock()
        return EngineLoads(
            (now - state[_RECEIVED_S]) * 1000,
            state[_RUNNING],
            state[_WAITING],
            state[_KV_USAGE],
            now < state[_INHIBITED_UNTIL_S],
        )

    def load_age_ms(self, endpoint_id: str) -> float:
        """Age of the engine's last load report; infinite when there is none."""
        slot = self._slots.get(endpoint_id)
        received_s = -np.inf if slot is None else self._state[_RECEIVED_S, slot]
        return float((self._clock() - received_s) * 1000)

    def is_inhibited(self, endpoint_id: str) -> bool:
        """The endpoint failed moments ago."""
        slot = self._slots.get(endpoint_id)
        return slot is not None and bool(self._clock() < self._state[_INHIBITED_UNTIL_S, slot])

    def failed(self, endpoint_id: str) -> None:
        """A request could not be served: leave the endpoint out, longer each time.

        Requests that were there when it failed fail together: that is one failure.
        """
        slot = self._slots.get(endpoint_id)
        if slot is None or self.is_inhibited(endpoint_id):
            return
        factor = self._factors.get(endpoint_id, 1)
        self._factors[endpoint_id] = min(factor * 2, MAX_INHIBIT_FACTOR)
        self._state[_INHIBITED_UNTIL_S, slot] = self._clock() + self._inhibit_s * factor
        self.health_version += 1

    def served(self, endpoint_id: str) -> None:
        """A request was served: forget earlier failures."""
        if self._factors.pop(endpoint_id, 0):
            self._state[_INHIBITED_UNTIL_S, self._slots[endpoint_id]] = -np.inf
            self.health_version += 1
