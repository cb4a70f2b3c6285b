"""Fills a `KvIndex` from NATS: deltas, heartbeats, and snapshots where they are needed."""

import asyncio
import contextlib
import time

from google.protobuf.message import DecodeError

from farsight import metrics, subjects
from farsight.bus import Bus
from farsight.errors import BadRecord, BusUnavailable, InvalidField
from farsight.index.state import KvIndex
from farsight.log import get_logger
from farsight.pb.events_pb2 import KvDelta, KvSnapshot, KvSnapshotReply, KvSnapshotRequest, Load

log = get_logger(__name__)

MAX_MESSAGE_BYTES = 1 << 20
MAX_SNAPSHOT_BYTES = 512 << 20
SNAPSHOT_REQUEST_TIMEOUT_S = 2.0
SNAPSHOT_RETRY_S = 0.5
CONCURRENT_SNAPSHOTS = 4
FORGET_AFTER_S = 60.0

deltas_total = metrics.counter(
    "farsight_index_deltas", "KV deltas received, by what became of them", ("result",)
)
resyncs_total = metrics.counter(
    "farsight_index_resyncs", "Snapshots asked for, by where one was found", ("result",)
)


class IndexFeed:
    """Owns the subscriptions and the snapshot tasks of one index."""

    def __init__(self, bus: Bus, replica_id: str) -> None:
        self.index = KvIndex(time.monotonic, self._want_snapshot)
        self._bus = bus
        self._replica_id = replica_id
        self._wanted: asyncio.Queue[str] = asyncio.Queue()
        self._in_work: set[str] = set()

    async def run(self) -> None:
        """Follow deltas and heartbeats, fetch snapshots, forget silent endpoints; never returns."""
        self._bus.subscribe(subjects.DELTA_ALL, self._on_delta)
        self._bus.subscribe(subjects.LOAD_ALL, self._on_load)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CONCURRENT_SNAPSHOTS):
                tasks.create_task(self._fetch_snapshots())
            tasks.create_task(self._forget_silent())

    def _on_delta(self, subject: str, data: bytes) -> None:
        try:
            if len(data) > MAX_MESSAGE_BYTES:
                raise InvalidField("delta", f"at most {MAX_MESSAGE_BYTES} bytes")
            delta = KvDelta.FromString(data)
            if subject != subjects.delta(delta.endpoint_id):
                raise InvalidField("endpoint_id", f"the one of subject {subject}")
            deltas_total.labels(self.index.apply(delta)).inc()
        except (DecodeError, InvalidField) as error:
            deltas_total.labels("refused").inc()
            log.warning("delta refused", extra={"subject": subject, "error": str(error)})

    def _on_load(self, subject: str, data: bytes) -> None:
        try:
            if len(data) > MAX_MESSAGE_BYTES:
                raise InvalidField("load", f"at most {MAX_MESSAGE_BYTES} bytes")
            load = Load.FromString(data)
            if subject != subjects.load(load.endpoint_id):
                raise InvalidField("endpoint_id", f"the one of subject {subject}")
            self.index.heard(load)
        except (DecodeError, InvalidField) as error:
            metrics.bad_records.labels("load").inc()
            log.warning("load refused", extra={"subject": subject, "error": str(error)})

    def _want_snapshot(self, endpoint_id: str) -> None:
        if endpoint_id not in self._in_work:
            self._in_work.add(endpoint_id)
            self._wanted.put_nowait(endpoint_id)

    async def _fetch_snapshots(self) -> None:
        while True:
            endpoint_id = await self._wanted.get()
            try:
                synced = await self._resync(endpoint_id)
            except (BadRecord, BusUnavailable, DecodeError, InvalidField) as error:
                resyncs_total.labels("failed").inc()
                log.info("no snapshot yet", extra={"endpoint": endpoint_id, "error": str(error)})
                synced = False
            if not synced:
                await asyncio.sleep(SNAPSHOT_RETRY_S)
            # The next delta or heartbeat asks again when the endpoint is still not synced.
            self._in_work.discard(endpoint_id)

    async def _resync(self, endpoint_id: str) -> bool:
        """Ask the sidecar for a snapshot; take the last stored one when it does not answer."""
        name, origin = subjects.token(endpoint_id), "stored"
        with contextlib.suppress(BusUnavailable):
            request = KvSnapshotRequest(replica_id=self._replica_id)
            answer = await self._bus.request(
                subjects.snapshot(endpoint_id),
                request.SerializeToString(),
                SNAPSHOT_REQUEST_TIMEOUT_S,
            )
            name, origin = KvSnapshotReply.FromString(answer).object_name, "asked"
        data = await self._bus.get_object(subjects.KV_BUCKET, name, MAX_SNAPSHOT_BYTES)
        if data is None:
            resyncs_total.labels("missing").inc()
            return False
        resyncs_total.labels(origin).inc()
        snapshot = await asyncio.to_thread(KvSnapshot.FromString, data)
        if snapshot.endpoint_id != endpoint_id:
            raise InvalidField("endpoint_id", endpoint_id)
        return await self.index.replace(snapshot)

    async def _forget_silent(self) -> None:
        while True:
            await asyncio.sleep(FORGET_AFTER_S / 10)
            for endpoint_id in self.index.forget_silent(FORGET_AFTER_S):
                log.info("endpoint forgotten", extra={"endpoint": endpoint_id})
