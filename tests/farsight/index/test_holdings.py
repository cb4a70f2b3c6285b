"""Which deltas a replica listens to, over a real NATS."""

import asyncio
import time
from collections.abc import Callable, Sequence

from farsight.bus import Bus
from farsight.index.feed import IndexFeed
from farsight.index.shards import Share
from tests.farsight.index.sidecars import Sidecar, feeding, is_exact
from tests.farsight.index.test_shards import records
from tests.waiting import eventually

ENDPOINTS = [f"pod-{i}" for i in range(12)]


def share(replica_id: str, *others: str) -> Share:
    """A share of one copy among others."""
    made = Share(replica_id, 1, time.monotonic)
    made.update(records(*others))
    return made


def known(feed: IndexFeed) -> set[str]:
    """Endpoints that the index holds."""
    return {source.endpoint_id for source in feed.index.report()}


def exact(feed: IndexFeed, sidecars: Sequence[Sidecar]) -> Callable[[], bool]:
    """It holds exactly these, and all of them are EXACT."""
    caches = [sidecar.cache for sidecar in sidecars]

    def holds() -> bool:
        ids = {cache.endpoint_id for cache in caches}
        return known(feed) == ids and all(is_exact(feed, cache) for cache in caches)

    return holds


async def test_a_replica_loads_its_share_and_hands_over_what_it_loses(
    bus: Bus, nats_url: str
) -> None:
    """It loads what became its own at once, and keeps what became another's for the grace."""
    one = share("i1", "i2")
    async with asyncio.TaskGroup() as tasks:
        sidecars = [Sidecar(bus, endpoint_id) for endpoint_id in ENDPOINTS]
        stop = asyncio.Event()

        async def live(sidecar: Sidecar) -> None:
            async with sidecar.alive():
                await stop.wait()

        for sidecar in sidecars:
            sidecar.cache.store(1, 2, 3)
            tasks.create_task(live(sidecar))
        async with feeding(nats_url, share=one, grace_s=1.5) as feed:
            own = [s for s in sidecars if one.wants(s.cache.endpoint_id)]
            assert 0 < len(own) < len(sidecars)
            await eventually(exact(feed, own))

            one.update({})
            await eventually(exact(feed, sidecars))
            for sidecar in sidecars:
                await sidecar.send(sidecar.cache.store(4))
            await eventually(exact(feed, sidecars))

            one.update(records("i2"))
            for sidecar in sidecars:
                await sidecar.send(sidecar.cache.store(5))
            await eventually(exact(feed, sidecars))  # the grace has not passed
            await eventually(exact(feed, own))
        stop.set()
