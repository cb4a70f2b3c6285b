"""A sidecar's KV path in a process of its own, and the same path without a sidecar's work."""

import asyncio
from typing import NoReturn

import uvloop
import zmq
import zmq.asyncio

from farsight import subjects
from farsight.bus import Bus
from farsight.runtime import settle_heap
from services.sidecar.follow import KvFollower
from services.sidecar.inbox import Inbox
from services.sidecar.mirror import BlockLayout
from services.sidecar.publisher import DeltaPublisher
from services.sidecar.settings import SidecarSettings
from services.sidecar.source import EventSource
from services.sidecar.warm import warm

ENDPOINT = "e0"
# The tail is checked when nothing comes; that it has been checked is not what is measured.
TAIL_CHECK_S = 60.0
DEVICE_BLOCKS = 1 << 20
SETTINGS = {"endpoint_id": ENDPOINT, "tail_check_s": TAIL_CHECK_S}


class SidecarProcess:
    """Between an engine's ZMQ addresses and NATS, until its process ends."""

    def __init__(self, nats_url: str, addresses: tuple[str, str]) -> None:
        warm()
        settle_heap()
        self._bus = Bus(nats_url)
        self._source = EventSource(*addresses)

    def follow(self) -> NoReturn:
        """Events become deltas."""
        uvloop.run(self._follow())
        raise AssertionError("it goes on until the process ends")

    async def _follow(self) -> NoReturn:
        await self._bus.run()
        follower = KvFollower(
            zmq.asyncio.Context(),
            self._source,
            BlockLayout("model", 16, 16),
            DeltaPublisher(self._bus, ENDPOINT),
            SidecarSettings.model_validate(SETTINGS),
            DEVICE_BLOCKS,
            lambda: None,
        )
        await follower.run()

    def echo(self) -> NoReturn:
        """Batches are published as they are."""
        uvloop.run(self._echo())
        raise AssertionError("it goes on until the process ends")

    async def _echo(self) -> NoReturn:
        await self._bus.run()
        subject = subjects.delta(ENDPOINT)
        with Inbox(zmq.asyncio.Context(), zmq.SUB, self._source.events) as inbox:
            while True:
                await inbox.wait(TAIL_CHECK_S)
                while (message := inbox.take()) is not None:
                    await self._bus.publish(subject, message[-1])
                await asyncio.sleep(0)
