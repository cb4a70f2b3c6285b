"""RouterClient against real gRPC servers."""

import asyncio
import time
from collections.abc import Callable

import pytest

from farsight.client import Decision, RouterClient
from farsight.discovery import encode_record, service_key
from farsight.errors import FarsightError, InvalidField, NoEndpoint, Overloaded, UnknownModel
from farsight.etcd import Etcd
from farsight.pb.records_pb2 import ServiceRecord
from farsight.pb.router_pb2 import FirstToken, ReportEvent, RouteReply, RouteRequest
from farsight.replicas import ReplicasAway
from tests.fakes.router import in_order, serving
from tests.waiting import eventually

REQUEST = RouteRequest(request_id="r1", model="m", text="hello")
DECIDE = in_order("http://127.0.0.1:1")
NOWHERE = "127.0.0.1:1"


def first_token(decision: str) -> ReportEvent:
    """An event to report."""
    return ReportEvent(decision_id=decision, endpoint_id="e0", first_token=FirstToken(ttft_ms=1))


def refusing(error: FarsightError) -> Callable[[RouteRequest], RouteReply]:
    """A decision that is an error."""

    def decide(request: RouteRequest) -> RouteReply:
        raise error

    return decide


async def test_replicas_take_turns_and_get_the_request_id() -> None:
    """Calls spread evenly; the id travels as metadata."""
    async with (
        serving(DECIDE) as one,
        serving(DECIDE) as two,
        RouterClient([one.address, two.address]) as client,
    ):
        routers = [(await client.route(REQUEST, 5)).router for _ in range(6)]

    assert routers.count(one.address) == routers.count(two.address) == 3
    assert set(one.request_ids) == {"r1"}


async def test_a_replica_that_is_gone_or_hangs_is_left_within_the_call() -> None:
    """Every call succeeds as long as one replica answers in its share of the time."""
    async with (
        serving(DECIDE) as hung,
        serving(DECIDE) as alive,
        RouterClient([NOWHERE, hung.address, alive.address]) as client,
    ):
        hung.delay_s = 30

        routers = {(await client.route(REQUEST, 1)).router for _ in range(4)}

    assert routers == {alive.address}
    assert len(hung.requests) <= 2


@pytest.mark.parametrize(
    "error",
    [
        InvalidField("prompt", "text: not nothing"),
        UnknownModel("m", ["b", "a"]),
        UnknownModel("m", []),
        NoEndpoint("all are sick"),
        Overloaded("queue is full"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_errors_arrive_as_they_were_raised(error: FarsightError) -> None:
    """A router's own refusal is final: same class, same fields, no second replica asked."""
    async with (
        serving(refusing(error)) as one,
        serving(refusing(error)) as two,
        RouterClient([one.address, two.address]) as client,
    ):
        with pytest.raises(type(error)) as raised:
            await client.route(REQUEST, 5)

    assert str(raised.value) == str(error)
    assert raised.value.field == error.field
    assert len(one.requests) + len(two.requests) == 1


async def test_known_models_are_a_field_again() -> None:
    """UnknownModel carries the list that the router knows."""
    refuse = refusing(UnknownModel("m", ["b", "a"]))
    async with serving(refuse) as router, RouterClient([router.address]) as client:
        with pytest.raises(UnknownModel) as raised:
            await client.route(REQUEST, 5)

    assert raised.value.known == ("a", "b")


async def test_no_router_is_an_error_after_the_bound() -> None:
    """With every replica away the call ends with its time, not before and not never."""
    started = time.monotonic()
    async with RouterClient([NOWHERE]) as client:
        with pytest.raises(ReplicasAway, match="unavailable"):
            await client.route(REQUEST, 0.5)

    assert time.monotonic() - started > 0.3


async def test_a_call_waits_for_a_router_that_comes_up() -> None:
    """The first router starts while the call is under way."""
    async with serving(DECIDE) as gone:
        address = gone.address
    async with RouterClient([address]) as client:
        call = asyncio.create_task(client.route(REQUEST, 10))
        await asyncio.sleep(0.3)
        async with serving(DECIDE, address):
            decision = await call

    assert decision.router == address


async def test_a_request_over_the_message_limit_is_refused_here() -> None:
    """The field is named and no router is asked."""
    async with serving(DECIDE) as router, RouterClient([router.address]) as client:
        with pytest.raises(InvalidField, match="prompt"):
            await client.route(RouteRequest(model="m", text="x" * (17 << 20)), 5)

    assert not router.requests


async def test_reports_go_to_the_router_that_decided_and_are_flushed() -> None:
    """Leaving the client sends what is pending and half-closes the stream."""
    async with serving(DECIDE) as one, serving(DECIDE) as two:
        async with RouterClient([one.address, two.address]) as client:
            decision = await client.route(REQUEST, 5)
            for i in range(100):
                client.report(decision, first_token(f"d{i}"))

        decider, other = (one, two) if decision.router == one.address else (two, one)
        assert [e.decision_id for e in decider.events] == [f"d{i}" for i in range(100)]
        assert decider.summaries == 1
        assert not other.events


async def test_reports_survive_a_restart_of_the_router() -> None:
    """Events wait while the replica is away and arrive when it is back."""
    async with serving(DECIDE) as router:
        address = router.address
        client = RouterClient([address])
        await client.__aenter__()
        decision = await client.route(REQUEST, 5)
        client.report(decision, first_token("before"))
        await eventually(lambda: len(router.events) == 1)
    await asyncio.sleep(0.1)
    client.report(decision, first_token("while away"))

    async with serving(DECIDE, address) as back:
        await eventually(lambda: [e.decision_id for e in back.events] == ["while away"])
        await client.__aexit__()


async def test_reports_over_the_bound_are_dropped() -> None:
    """A replica that is away holds no more than the limit."""
    client = RouterClient([NOWHERE], report_limit=3)
    async with client:
        for _ in range(10):
            client.report(Decision(RouteReply(), NOWHERE), first_token("d"))

        assert len(client._replicas[NOWHERE].reports._pending) == 3


async def test_routers_are_found_in_etcd_and_leave_with_their_record(etcd: Etcd) -> None:
    """A record adds a replica; without it the reports go to another one."""
    async with serving(DECIDE) as one, serving(DECIDE) as two:
        for name, router in (("one", one), ("two", two)):
            record = ServiceRecord(kind="router", replica_id=name, address=router.address)
            await etcd.put(service_key("router", name), encode_record(record))
        seen: list[int] = []
        async with RouterClient(etcd, on_replicas=lambda known: seen.append(len(known))) as client:
            await eventually(lambda: len(client.addresses) == 2)
            await etcd.delete(service_key("router", "one"))
            await eventually(lambda: client.addresses == (two.address,))

            client.report(Decision(RouteReply(), one.address), first_token("d"))
            await eventually(lambda: len(two.events) == 1)

        assert seen[-1] == 1
