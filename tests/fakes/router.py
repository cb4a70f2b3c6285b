"""A router without a policy: a real gRPC server whose answers the test writes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from farsight.pb import router_pb2_grpc
from farsight.pb.router_pb2 import (
    ReportEvent,
    ReportSummary,
    RoutedEndpoint,
    RouteReply,
    RouteRequest,
    RouterStatusReply,
    RouterStatusRequest,
)
from farsight.server import REQUEST_ID_KEY, Server

Context = grpc.aio.ServicerContext[Any, Any]
Decide = Callable[[RouteRequest], RouteReply]


def in_order(*urls: str) -> Decide:
    """Endpoints e0, e1, ... in the given order, without those that the request excludes."""
    endpoints = [RoutedEndpoint(endpoint_id=f"e{i}", url=url) for i, url in enumerate(urls)]

    def decide(request: RouteRequest) -> RouteReply:
        left = [e for e in endpoints if e.endpoint_id not in request.exclude_endpoint_ids]
        return RouteReply(
            decision_id=f"d-{request.request_id}",
            request_id=request.request_id,
            endpoint=left[0],
            alternatives=left[1:],
            cached_tokens=32,
        )

    return decide


class FakeRouter(router_pb2_grpc.RouterServicer):
    """Answers with `decide`, which may raise; records what it was asked and told."""

    def __init__(self, decide: Decide, listen: str = "127.0.0.1:0") -> None:
        self.decide = decide
        self.delay_s = 0.0
        self.requests: list[RouteRequest] = []
        self.request_ids: list[str] = []
        self.events: list[ReportEvent] = []
        self.summaries = 0
        self.status = RouterStatusReply(replica_id="fake")
        self.status_calls = 0
        self._server = Server(listen)
        self.address = self._server.address
        router_pb2_grpc.add_RouterServicer_to_server(self, self._server.grpc)

    async def start(self) -> None:
        """Begin to serve."""
        await self._server.start()
        await self._server.set_serving(True)

    async def stop(self) -> None:
        """Vanish at once."""
        await self._server.stop(0)

    def events_of(self, kind: str) -> Sequence[ReportEvent]:
        """Recorded events of one kind: first_token, finished, endpoint_failed."""
        return [event for event in self.events if event.WhichOneof("event") == kind]

    async def Route(self, request: RouteRequest, context: Context) -> RouteReply:
        """The scripted decision."""
        self.requests.append(request)
        metadata = dict(context.invocation_metadata() or ())
        self.request_ids.append(str(metadata.get(REQUEST_ID_KEY, "")))
        await asyncio.sleep(self.delay_s)
        return self.decide(request)

    async def Report(
        self, request_iterator: AsyncIterator[ReportEvent], context: Context
    ) -> ReportSummary:
        """Record the events of one stream."""
        count = 0
        async for event in request_iterator:
            self.events.append(event)
            count += 1
        self.summaries += 1
        return ReportSummary(events=count)

    async def Status(self, request: RouterStatusRequest, context: Context) -> RouterStatusReply:
        """The scripted `status`."""
        self.status_calls += 1
        return self.status


@asynccontextmanager
async def serving(decide: Decide, listen: str = "127.0.0.1:0") -> AsyncIterator[FakeRouter]:
    """A running FakeRouter."""
    router = FakeRouter(decide, listen)
    await router.start()
    try:
        yield router
    finally:
        await router.stop()
