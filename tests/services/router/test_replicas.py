"""Router replicas beside each other, and one that stops."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from farsight import subjects
from farsight.bus import Bus
from farsight.channel import connect
from farsight.etcd import Etcd
from farsight.pb.events_pb2 import KvDoubt
from farsight.pb.router_pb2 import (
    FirstToken,
    ReportEvent,
    RouteReply,
    RouteRequest,
    RouterStatusRequest,
)
from farsight.pb.router_pb2_grpc import RouterStub
from farsight.pb.types_pb2 import CONFIDENCE_APPROXIMATE, CONFIDENCE_EXACT
from services.router import metrics
from tests.services.router.deployed import Sidecars, finished, ready, router
from tests.services.router.given import record, tokens
from tests.waiting import eventually

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


@pytest.mark.parametrize("speculative_s", [0, 60], ids=["memory", "on their way"])
async def test_replicas_know_what_the_others_routed(
    etcd: Etcd, bus: Bus, etcd_url: str, nats_url: str, speculative_s: int
) -> None:
    """An endpoint without an index is expected to hold it, whichever replica sent it there."""
    sidecars = Sidecars(etcd, bus)
    await sidecars.join(record("a"))
    # One remembers nothing for long, the other one nothing but what is on its way.
    settings = {"speculative_s": speculative_s, "approximate_blocks": 0 if speculative_s else 1000}
    async with (
        router(etcd_url, nats_url, "r1", **settings) as one,
        router(etcd_url, nats_url, "r2", **settings) as two,
        connect(one.endpoint.address) as channel_one,
        connect(two.endpoint.address) as channel_two,
    ):
        first, second = RouterStub(channel_one), RouterStub(channel_two)
        for channel in (channel_one, channel_two):
            await ready(channel)
        # Replicas tell only those that they have heard from.
        for stub in (first, second):
            await stub.Route(RouteRequest(model="m", token_ids=tokens(10).tobytes()))
        for stub in (first, second):
            await in_flight(stub, 2)
        asked = RouteRequest(model="m", token_ids=PROMPT)
        heard = metrics.routed_prompts.labels("heard")
        before = heard._value.get()

        told = await first.Route(asked)
        await eventually(lambda: heard._value.get() > before)
        known = await second.Route(asked)

    assert told.cached_tokens == 0
    assert known.cached_tokens == 992
    assert known.confidence == CONFIDENCE_APPROXIMATE


async def test_persistent_over_prediction_is_published_as_a_doubt(
    etcd: Etcd, bus: Bus, etcd_url: str, nats_url: str
) -> None:
    """An engine that lacks what its events said makes the router ask for a fresh snapshot."""
    sidecars = Sidecars(etcd, bus)
    await sidecars.join(record("a"))
    doubts: list[KvDoubt] = []
    bus.subscribe(subjects.DOUBT_ALL, lambda _, data: doubts.append(KvDoubt.FromString(data)))
    async with (
        router(etcd_url, nats_url, index="embedded") as runtime,
        connect(runtime.endpoint.address) as channel,
    ):
        await ready(channel)
        stub = RouterStub(channel)
        call = stub.Report()

        async def served() -> RouteReply:
            await sidecars.beat("a")
            reply = await stub.Route(RouteRequest(model="m", token_ids=PROMPT))
            await call.write(finished(reply, cached_tokens=0))
            await in_flight(stub, 0)
            return reply

        async with asyncio.timeout(15):
            while (await served()).confidence != CONFIDENCE_EXACT:
                pass
            await sidecars.store("a", tokens(1000).tolist())
            while not doubts:
                await served()
        await call.done_writing()
        await call

    assert [(d.endpoint_id, d.epoch, d.router_id) for d in doubts] == [("a", 1, "r1")]
    assert doubts[0].mean_error_tokens > 496


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


async def route_until(
    stub: "RouterAsyncStub",
    request: RouteRequest,
    sidecars: Sidecars,
    holds: Callable[[RouteReply], bool],
) -> RouteReply:
    """Ask, while the sidecar of `a` reports, until the answer is as wanted."""
    async with asyncio.timeout(10):
        while True:
            await sidecars.beat("a")
            reply = await stub.Route(request)
            if holds(reply):
                return reply
            await asyncio.sleep(0.02)


async def test_a_router_with_its_own_index_needs_no_indexer(
    etcd: Etcd, bus: Bus, etcd_url: str, nats_url: str
) -> None:
    """An embedded read replica learns what endpoints hold from the same deltas."""
    sidecars = Sidecars(etcd, bus)
    await sidecars.join(record("a"))
    prompt = tokens(1000)
    async with (
        router(etcd_url, nats_url, index="embedded", speculative_s=0) as runtime,
        connect(runtime.endpoint.address) as channel,
    ):
        await ready(channel)
        request = RouteRequest(model="m", token_ids=prompt.tobytes())

        stub = RouterStub(channel)
        await route_until(stub, request, sidecars, lambda r: r.confidence == CONFIDENCE_EXACT)
        await sidecars.store("a", prompt.tolist())
        reply = await route_until(stub, request, sidecars, lambda r: r.cached_tokens > 0)

    assert reply.cached_tokens == 992
    assert not [reason for reason in reply.fallbacks if reason.startswith("index")]
