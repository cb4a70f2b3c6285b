"""Router replicas beside each other, and one that stops."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from farsight.bus import Bus
from farsight.channel import connect
from farsight.etcd import Etcd
from farsight.pb.router_pb2 import (
    FirstToken,
    ReportEvent,
    RouteReply,
    RouteRequest,
    RouterStatusRequest,
)
from farsight.pb.router_pb2_grpc import RouterStub
from farsight.pb.types_pb2 import CONFIDENCE_EXACT
from tests.services.router.deployed import Sidecars, finished, ready, router
from tests.services.router.given import record, tokens

if TYPE_CHECKING:
    from farsight.pb.router_pb2_grpc import RouterAsyncStub

PROMPT = tokens(1000).tobytes()


async def test_replicas_see_each_others_load(
    etcd: Etcd, bus: Bus, etcd_url: str, nats_url: str
) -> None:
    """What one reserves the other one counts, until it ends or its replica stops."""
    sidecars = Sidecars(etcd, bus)
    await sidecars.join(record("a"))
    async with (
        router(etcd_url, nats_url, "r1") as one,
        connect(one.endpoint.address) as channel_one,
    ):
        await ready(channel_one)
        async with (
            router(etcd_url, nats_url, "r2") as two,
            connect(two.endpoint.address) as channel_two,
        ):
            await ready(channel_two)
            first, second = RouterStub(channel_one), RouterStub(channel_two)
            replies = [
                await stub.Route(RouteRequest(model="m", token_ids=tokens(1000, i).tobytes()))
                for i, stub in enumerate((first, second, second))
            ]
            both = [await in_flight(stub, 3) for stub in (first, second)]
            call = second.Report()
            await call.write(finished(replies[1]))
            after = await in_flight(first, 2)
            await call.done_writing()
            await call
        alone = await in_flight(first, 1)

    assert both == [3000, 3000]
    assert (after, alone) == (2000, 1000)


async def in_flight(stub: "RouterAsyncStub", requests: int) -> int:
    """Prefill tokens in flight on `a`, once so many requests are."""
    async with asyncio.timeout(10):
        while True:
            endpoint = (await stub.Status(RouterStatusRequest())).endpoints[0]
            if endpoint.in_flight_requests == requests:
                return int(endpoint.in_flight_prefill_tokens)
            await asyncio.sleep(0.01)


async def test_a_stop_waits_for_open_decisions_and_not_for_their_stream(
    etcd: Etcd, bus: Bus, etcd_url: str, nats_url: str
) -> None:
    """Reports are taken until the last request has ended; then the stream is answered."""
    await Sidecars(etcd, bus).join(record("a"))
    async with router(etcd_url, nats_url, drain_s=15) as runtime:
        channel = connect(runtime.endpoint.address)
        await ready(channel)
        stub = RouterStub(channel)
        reply = await stub.Route(RouteRequest(model="m", token_ids=PROMPT))
        call = stub.Report()
        first = ReportEvent(decision_id=reply.decision_id, first_token=FirstToken(ttft_ms=1))
        await call.write(first)
        await asyncio.sleep(0.1)

        runtime.stopping.set()
        await asyncio.sleep(0.3)
        still_open = not call.done()
        await call.write(finished(reply))
        summary = await asyncio.wait_for(call, 5)

        assert still_open
        assert (summary.events, summary.unknown_decisions) == (2, 0)
        await channel.close()


async def test_a_router_with_its_own_index_needs_no_indexer(
    etcd: Etcd, bus: Bus, etcd_url: str, nats_url: str
) -> None:
    """An embedded read replica learns what endpoints hold from the same deltas."""
    sidecars = Sidecars(etcd, bus)
    await sidecars.join(record("a"))
    prompt = tokens(1000)
    async with (
        router(etcd_url, nats_url, index="embedded") as runtime,
        connect(runtime.endpoint.address) as channel,
    ):
        await ready(channel)
        request = RouteRequest(model="m", token_ids=prompt.tobytes())

        async def route_until(holds: Callable[[RouteReply], bool]) -> RouteReply:
            async with asyncio.timeout(10):
                while True:
                    await sidecars.beat("a")
                    reply = await RouterStub(channel).Route(request)
                    if holds(reply):
                        return reply
                    await asyncio.sleep(0.02)

        await route_until(lambda reply: reply.confidence == CONFIDENCE_EXACT)
        await sidecars.store("a", prompt.tolist())
        reply = await route_until(lambda reply: reply.cached_tokens > 0)

    assert reply.cached_tokens == 992
    assert not [reason for reason in reply.fallbacks if reason.startswith("index")]
