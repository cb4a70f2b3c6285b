"""`RouterClient`: decisions from any live router replica, and reports back to it."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import grpc.aio

from farsight.channel import MAX_MESSAGE_BYTES, connect
from farsight.client import metrics
from farsight.client.reports import ReportStream
from farsight.client.statuses import error_of, not_ready_text
from farsight.discovery import SERVICES_PREFIX, replica_addresses
from farsight.errors import InvalidField, NoEndpoint
from farsight.etcd import Etcd
from farsight.log import get_logger
from farsight.pb.router_pb2 import ReportEvent, RouteReply, RouteRequest
from farsight.pb.router_pb2_grpc import RouterStub
from farsight.replicas import AVOID_S, ReplicasAway
from farsight.server import REQUEST_ID_KEY

if TYPE_CHECKING:
    from farsight.pb.router_pb2_grpc import RouterAsyncStub

log = get_logger(__name__)

ROUTERS_PREFIX = SERVICES_PREFIX + "router/"
RETRY_S = 0.1
FLUSH_S = 2.0


@dataclass(frozen=True, slots=True)
class Decision:
    """A router's answer, and the replica that gave it."""

    reply: RouteReply
    router: str  # host:port


@dataclass(slots=True)
class _Replica:
    address: str
    channel: grpc.aio.Channel
    stub: "RouterAsyncStub"
    reports: ReportStream
    avoid_until_s: float = field(default=0.0)


class RouterClient:
    """Routes over every live router replica; an async context manager.

    :param source: addresses (host:port) of the routers, or the etcd that lists them.
    :param on_replicas: called with the addresses when they change.
    :param report_limit: events that wait for one replica before further ones are dropped.
    """

    def __init__(
        self,
        source: Sequence[str] | Etcd,
        on_replicas: Callable[[Sequence[str]], None] = lambda _: None,
        report_limit: int = 4096,
    ) -> None:
        self._source = source
        self._on_replicas = on_replicas
        self._report_limit = report_limit
        self._replicas: dict[str, _Replica] = {}
        self._turn = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def addresses(self) -> tuple[str, ...]:
        """host:port of every replica that is known."""
        return tuple(sorted(self._replicas))

    async def __aenter__(self) -> Self:
        if isinstance(self._source, Etcd):
            self._own(self._source.watch(ROUTERS_PREFIX, self._take_records))
        else:
            self._set_addresses(set(self._source))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        replicas, self._replicas = self._replicas, {}
        await asyncio.gather(*(self._drop(replica) for replica in replicas.values()))

    async def route(self, request: RouteRequest, timeout_s: float) -> Decision:
        """Ask the routers in turn until one answers; go round again until the time is over.

        :raises InvalidField: a field is bad, or the request is over the message size limit.
        :raises UnknownModel: nobody serves the model.
        :raises NoEndpoint: nobody can take the request now.
        :raises Overloaded: the router has reached a bound.
        :raises ReplicasAway: no router answered within `timeout_s`.
        """
        if request.ByteSize() > MAX_MESSAGE_BYTES:
            raise InvalidField("prompt", f"a request of at most {MAX_MESSAGE_BYTES} bytes")
        deadline_s = time.monotonic() + timeout_s
        why, not_ready = "none", ""
        while True:
            order = self._order()
            for position, replica in enumerate(order):
                left_s = deadline_s - time.monotonic()
                share_s = max(0.0, left_s) / (len(order) - position)
                try:
                    return Decision(await _ask(replica, request, share_s), replica.address)
                except grpc.aio.AioRpcError as status:
                    if (error := error_of(status, request.model)) is not None:
                        raise error from None
                    why = status.code().name.lower()
                    not_ready = not_ready_text(status)
                    metrics.failovers.labels(why).inc()
                    replica.avoid_until_s = time.monotonic() + AVOID_S
            if time.monotonic() + RETRY_S >= deadline_s:
                raise NoEndpoint(not_ready) if not_ready else ReplicasAway(why)
            await asyncio.sleep(RETRY_S)

    def report(self, decision: Decision, event: ReportEvent) -> None:
        """Tell the router that decided, or any other one when it is gone; never waits."""
        replica = self._replicas.get(decision.router)
        if replica is None:
            self._report_anywhere(event)
        elif not replica.reports.offer(event):
            metrics.reports_dropped.labels("full").inc()

    def _report_anywhere(self, event: ReportEvent) -> None:
        if not any(replica.reports.offer(event) for replica in self._order()):
            metrics.reports_dropped.labels("no-router").inc()

    def _order(self) -> list[_Replica]:
        """Every replica: the next in turn first, those that failed moments ago last."""
        known = list(self._replicas.values())
        self._turn = (self._turn + 1) % max(1, len(known))
        now_s = time.monotonic()
        return sorted(
            known[self._turn :] + known[: self._turn], key=lambda r: r.avoid_until_s > now_s
        )

    def _take_records(self, values: Mapping[str, bytes]) -> None:
        self._set_addresses(replica_addresses(values))

    def _set_addresses(self, wanted: set[str]) -> None:
        if wanted == self._replicas.keys():
            return
        for address in self._replicas.keys() - wanted:
            self._own(self._drop(self._replicas.pop(address)))
        for address in sorted(wanted - self._replicas.keys()):
            channel = connect(address)
            stub = RouterStub(channel)
            reports = ReportStream(stub, self._report_limit)
            self._replicas[address] = _Replica(address, channel, stub, reports)
        log.info("routers", extra={"addresses": self.addresses})
        self._on_replicas(self.addresses)

    async def _drop(self, replica: _Replica) -> None:
        """Flush the reports, hand over those that do not get through, let calls end."""
        for event in await replica.reports.close(FLUSH_S):
            self._report_anywhere(event)
        await replica.channel.close(FLUSH_S)

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("router client task failed", exc_info=error)


async def _ask(replica: _Replica, request: RouteRequest, timeout_s: float) -> RouteReply:
    given_id = request.request_id
    metadata = ((REQUEST_ID_KEY, given_id),) if given_id.isascii() and given_id else ()
    return await replica.stub.Route(request, timeout=timeout_s, metadata=metadata)
