"""The sidecar's side of a comparison: a fresh snapshot over NATS, and the deltas after it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from google.protobuf.message import DecodeError

from farsight import subjects
from farsight.bus import Bus
from farsight.cli.index_contents import Contents, advanced, of_snapshot
from farsight.errors import BadRecord, BusUnavailable, FarsightError, InvalidField
from farsight.pb.events_pb2 import KvDelta, KvSnapshot, KvSnapshotReply, KvSnapshotRequest

ASKING_AS = "farsight-cli"
NATS_LIMIT_S = 5.0
SNAPSHOT_LIMIT_S = 15.0  # a sidecar lets some time pass between two snapshots
DELTAS_LIMIT_S = 2.0
MAX_SNAPSHOT_BYTES = 512 << 20
MAX_DELTA_BYTES = 1 << 20
MAX_CAPTURED_BYTES = 256 << 20


class NoMirror(FarsightError):
    """What a sidecar's mirror holds cannot be found out."""


class Mirror:
    """One endpoint's mirror; made before the bus connects, so that no delta is missed."""

    def __init__(self, bus: Bus, endpoint_id: str) -> None:
        self._bus = bus
        self._endpoint_id = endpoint_id
        self._deltas: dict[tuple[int, int], KvDelta] = {}
        self._captured_bytes = 0
        bus.subscribe(subjects.delta(endpoint_id), self._on_delta)

    def _on_delta(self, _subject: str, data: bytes) -> None:
        """What cannot be kept or read is missing later, and said then."""
        self._captured_bytes += len(data)
        if len(data) > MAX_DELTA_BYTES or self._captured_bytes > MAX_CAPTURED_BYTES:
            return
        try:
            delta = KvDelta.FromString(data)
        except DecodeError:
            return
        self._deltas[delta.epoch, delta.seq] = delta

    async def snapshot(self) -> Contents:
        """What it holds now.

        :raises NoMirror: the sidecar does not answer, or its answer makes no sense.
        """
        request = KvSnapshotRequest(replica_id=ASKING_AS, fresh=True).SerializeToString()
        subject = subjects.snapshot(self._endpoint_id)
        try:
            answer = await self._bus.request(subject, request, SNAPSHOT_LIMIT_S)
            name = KvSnapshotReply.FromString(answer).object_name
            data = await self._bus.get_object(subjects.KV_BUCKET, name, MAX_SNAPSHOT_BYTES)
            if data is None:
                raise NoMirror(f"the sidecar's snapshot {name!r} is not in the object store")
            contents = of_snapshot(KvSnapshot.FromString(data))
        except BusUnavailable as error:
            raise NoMirror("the sidecar does not answer") from error
        except (BadRecord, DecodeError, InvalidField) as error:
            raise NoMirror(f"the sidecar's snapshot is refused: {error}") from error
        self._forget_before(contents)
        return contents

    def _forget_before(self, contents: Contents) -> None:
        since = (contents.epoch, contents.seq)
        self._deltas = {at: delta for at, delta in self._deltas.items() if at > since}
        self._captured_bytes = sum(delta.ByteSize() for delta in self._deltas.values())

    async def after(self, contents: Contents, seq: int) -> Contents:
        """The contents of a snapshot moved on to delta `seq`.

        :raises NoMirror: a delta between them did not come.
        """
        wanted = [(contents.epoch, at) for at in range(contents.seq + 1, seq + 1)]
        try:
            async with asyncio.timeout(DELTAS_LIMIT_S):
                while not all(at in self._deltas for at in wanted):  # noqa: ASYNC110 # NATS brings them
                    await asyncio.sleep(0.02)
        except TimeoutError:
            first = next(at for at in wanted if at not in self._deltas)
            raise NoMirror(f"delta {first[1]} did not come") from None
        try:
            return advanced(contents, [self._deltas[at] for at in wanted])
        except InvalidField as error:
            raise NoMirror(f"a delta is refused: {error}") from error


@asynccontextmanager
async def mirrors_of(url: str, endpoint_ids: Sequence[str]) -> AsyncIterator[dict[str, Mirror]]:
    """Mirrors by endpoint, on one connection to NATS; their deltas are captured from here on.

    :raises BusUnavailable: NATS does not answer.
    """
    bus = Bus(url)
    mirrors = {endpoint_id: Mirror(bus, endpoint_id) for endpoint_id in endpoint_ids}
    try:
        await asyncio.wait_for(bus.run(), NATS_LIMIT_S)
    except TimeoutError:
        raise BusUnavailable(f"NATS {url} does not answer; see --nats") from None
    try:
        await bus.flush()
        yield mirrors
    finally:
        await bus.close()
