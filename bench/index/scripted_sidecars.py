"""What the sidecars of many endpoints show an index that has just started."""

import asyncio
from collections.abc import Callable
from typing import NoReturn, Protocol

import numpy as np
import numpy.typing as npt
import uvloop

from bench.index.progress import Progress
from farsight import subjects
from farsight.bus import Bus
from farsight.keys import Keys, pack
from farsight.pb import types_pb2
from farsight.pb.events_pb2 import KvSnapshot, KvSnapshotReply, Load, TierKeys
from farsight.subjects import KV_BUCKET, token

HEARTBEAT_S = 0.25
EPOCH, SEQ = 1, 1_000


class Contents(Protocol):
    """What endpoints hold on their devices."""

    def contents(self, slot: int) -> tuple[Keys, npt.NDArray[np.int64]]:
        """An endpoint's keys in the order of their positions, and the number at each position."""


class ScriptedSidecars:
    """Endpoints e0, e1, ... that hold something and do nothing.

    :param make: what they hold; called in this process.
    :param ready: 1 when the snapshots are stored.
    """

    def __init__(
        self, url: str, make: Callable[[], Contents], endpoints: int, ready: Progress
    ) -> None:
        self._bus = Bus(url)
        self._held = make()
        self._endpoints = endpoints
        self._ready = ready

    def serve(self) -> NoReturn:
        """Store the snapshots, then answer and send heartbeats until this process ends."""
        uvloop.run(self._serve())
        raise AssertionError("it goes on until the process ends")

    async def _serve(self) -> NoReturn:
        await self._bus.run()
        heartbeats = []
        for slot in range(self._endpoints):
            endpoint_id = f"e{slot}"
            snapshot = snapshot_of(endpoint_id, self._held, slot)
            await self._bus.put_object(KV_BUCKET, token(endpoint_id), snapshot.SerializeToString())
            reply = KvSnapshotReply(object_name=token(endpoint_id), epoch=EPOCH, seq=SEQ)
            self._answer(endpoint_id, reply.SerializeToString())
            heartbeats.append((subjects.load(endpoint_id), heartbeat(snapshot)))
        await self._bus.flush()
        self._ready.set(1)
        while True:
            for subject, payload in heartbeats:
                await self._bus.publish(subject, payload)
            await asyncio.sleep(HEARTBEAT_S)

    def _answer(self, endpoint_id: str, reply: bytes) -> None:
        async def answer(request: bytes) -> bytes:
            return reply

        self._bus.serve(subjects.snapshot(endpoint_id), answer)


def snapshot_of(endpoint_id: str, held: Contents, slot: int) -> KvSnapshot:
    """All that an endpoint holds, on its device."""
    keys, counts = held.contents(slot)
    tier = TierKeys(tier=types_pb2.TIER_DEVICE, keys=pack(keys), position_counts=counts.tolist())
    return KvSnapshot(
        endpoint_id=endpoint_id, epoch=EPOCH, seq=SEQ, tiers=[tier], block_count=keys.size
    )


def heartbeat(snapshot: KvSnapshot) -> bytes:
    """A Load of a sidecar that is sure of its mirror."""
    return Load(
        endpoint_id=snapshot.endpoint_id,
        epoch=EPOCH,
        kv_seq=SEQ,
        kv_confidence=types_pb2.CONFIDENCE_EXACT,
        kv_blocks_held=snapshot.block_count,
    ).SerializeToString()
