"""Fills a `KvIndex` from NATS: deltas, heartbeats, doubts, and snapshots where they are needed."""

import asyncio
import time

from google.protobuf.message import DecodeError

from farsight import metrics, subjects
from farsight.bus import Bus
from farsight.errors import InvalidField
from farsight.index.budget import DEFAULT_BUDGET_BYTES
from farsight.index.doubts import Doubts
from farsight.index.holdings import Holdings
from farsight.index.shards import Share
from farsight.index.snapshots import SnapshotLoader
from farsight.index.state import KvIndex
from farsight.index.upkeep import IndexUpkeep
from farsight.log import get_logger
from farsight.pb.events_pb2 import KvDelta, Load

log = get_logger(__name__)

MAX_MESSAGE_BYTES = 1 << 20
MAX_SUBJECTS = 1 << 13
FORGET_AFTER_S = 60.0
TIDY_S = 1.0

deltas_total = metrics.counter(
    "farsight_index_deltas", "KV deltas received, by what became of them", ("result",)
)
_RESULTS = ("applied", "late", "held", "gap", "waiting", "refused")
_count_delta = {result: deltas_total.labels(result).inc for result in _RESULTS}


class IndexFeed:
    """Owns the subscriptions, the snapshot tasks and the upkeep of one index.

    :param share: which endpoints this replica holds; None: every one.
    :param grace_s: how long an endpoint is kept after others have taken it over, seconds.
    """

    def __init__(
        self,
        bus: Bus,
        replica_id: str,
        *,
        budget_bytes: int = DEFAULT_BUDGET_BYTES,
        share: Share | None = None,
        grace_s: float = 10.0,
    ) -> None:
        self._bus = bus
        self._loader = SnapshotLoader(bus, replica_id)
        self.index = KvIndex(time.monotonic, self._loader.want, budget_bytes)
        share = share or Share(replica_id, 0, time.monotonic)
        self.holdings = Holdings(bus, share, self._on_delta, grace_s, time.monotonic)
        self._doubts = Doubts(self.index, self.holdings.holds, time.monotonic)
        self._subjects: dict[str, str] = {}

    async def run(self) -> None:
        """Follow what NATS brings, fetch snapshots, let endpoints go; never returns."""
        self.holdings.start()
        self._bus.subscribe(subjects.LOAD_ALL, self._on_load)
        self._bus.subscribe(subjects.DOUBT_ALL, self._doubts.on_doubt)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._loader.run(self.index))
            tasks.create_task(IndexUpkeep(self.index).run())
            tasks.create_task(self._tidy())

    def _on_delta(self, subject: str, data: bytes) -> None:
        try:
            if len(data) > MAX_MESSAGE_BYTES:
                raise InvalidField("delta", f"at most {MAX_MESSAGE_BYTES} bytes")
            delta = KvDelta.FromString(data)
            if self._subjects.get(subject) != delta.endpoint_id:
                self._check(subject, subjects.delta(delta.endpoint_id), delta.endpoint_id)
            result = self.index.apply(delta)
        except (DecodeError, InvalidField) as error:
            result = "refused"
            log.warning("delta refused", extra={"subject": subject, "error": str(error)})
        _count_delta[result]()

    def _on_load(self, subject: str, data: bytes) -> None:
        try:
            if len(data) > MAX_MESSAGE_BYTES:
                raise InvalidField("load", f"at most {MAX_MESSAGE_BYTES} bytes")
            load = Load.FromString(data)
            if self._subjects.get(subject) != load.endpoint_id:
                self._check(subject, subjects.load(load.endpoint_id), load.endpoint_id)
            if self.holdings.take_up(load.endpoint_id):
                self.index.heard(load)
        except (DecodeError, InvalidField) as error:
            metrics.bad_records.labels("load").inc()
            log.warning("load refused", extra={"subject": subject, "error": str(error)})

    def _check(self, subject: str, expected: str, endpoint_id: str) -> None:
        """Compare a subject with that of the endpoint, and remember it: escaping costs time."""
        if subject != expected:
            raise InvalidField("endpoint_id", f"the one of subject {subject}")
        if len(self._subjects) >= MAX_SUBJECTS:
            self._subjects.clear()
        self._subjects[subject] = endpoint_id

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(min(TIDY_S, FORGET_AFTER_S / 10))
            for endpoint_id in await self.holdings.let_go():
                self.index.drop(endpoint_id)
                log.info("endpoint left to other replicas", extra={"endpoint": endpoint_id})
            silent = self.index.forget_silent(FORGET_AFTER_S)
            await self.holdings.forget(silent)
            for endpoint_id in silent:
                log.info("endpoint forgotten", extra={"endpoint": endpoint_id})
