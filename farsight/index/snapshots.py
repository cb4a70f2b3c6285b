"""Loads the snapshots that an index asks for: from the sidecar, or the last one that is stored."""

import asyncio
import contextlib

from google.protobuf.message import DecodeError

from farsight import metrics, subjects
from farsight.bus import Bus
from farsight.errors import BadRecord, BusUnavailable, InvalidField
from farsight.index.state import KvIndex
from farsight.log import get_logger
from farsight.pb.events_pb2 import KvSnapshot, KvSnapshotReply, KvSnapshotRequest

log = get_logger(__name__)

MAX_SNAPSHOT_BYTES = 512 << 20
SNAPSHOT_REQUEST_TIMEOUT_S = 2.0
SNAPSHOT_RETRY_S = 0.5
# Most of a load is waiting: for the sidecar that writes, and for the object store.
CONCURRENT_SNAPSHOTS = 16

resyncs_total = metrics.counter(
    "farsight_index_resyncs", "Snapshots asked for, by where one was found", ("result",)
)


class SnapshotLoader:
    """Fetches several snapshots at once and hands them to the index one after the other."""

    def __init__(self, bus: Bus, replica_id: str) -> None:
        self._bus = bus
        self._replica_id = replica_id
        self._wanted: asyncio.Queue[str] = asyncio.Queue()
        self._in_work: set[str] = set()
        # Each load gives way to others every fraction of a millisecond; many at once would not.
        self._turn = asyncio.Lock()

    def want(self, endpoint_id: str) -> None:
        """The index needs a snapshot of an endpoint."""
        if endpoint_id not in self._in_work:
            self._in_work.add(endpoint_id)
            self._wanted.put_nowait(endpoint_id)

    async def run(self, index: KvIndex) -> None:
        """Load what is wanted; never returns."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CONCURRENT_SNAPSHOTS):
                tasks.create_task(self._work(index))

    async def _work(self, index: KvIndex) -> None:
        while True:
            endpoint_id = await self._wanted.get()
            try:
                synced = await self._resync(index, endpoint_id)
            except (BadRecord, BusUnavailable, DecodeError, InvalidField) as error:
                resyncs_total.labels("failed").inc()
                log.info("no snapshot yet", extra={"endpoint": endpoint_id, "error": str(error)})
                synced = False
            if not synced:
                await asyncio.sleep(SNAPSHOT_RETRY_S)
            # The next delta or heartbeat asks again when the endpoint is still not synced.
            self._in_work.discard(endpoint_id)

    async def _resync(self, index: KvIndex, endpoint_id: str) -> bool:
        """Ask the sidecar for a snapshot; take the last stored one when it does not answer.

        A doubt is removed by a snapshot that was asked for after it alone.
        """
        name, origin = subjects.token(endpoint_id), "stored"
        fresh = index.wants_fresh(endpoint_id)
        with contextlib.suppress(BusUnavailable):
            request = KvSnapshotRequest(replica_id=self._replica_id, fresh=fresh)
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
        async with self._turn:
            if index.wants_fresh(endpoint_id) and not (fresh and origin == "asked"):
                return False
            return await index.replace(snapshot)
