"""A pool of replicas, with real gRPC servers behind it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from farsight.discovery import encode_record
from farsight.errors import InvalidField
from farsight.pb import index_pb2_grpc
from farsight.pb.index_pb2 import (
    DumpChunk,
    DumpRequest,
    IndexStatusReply,
    IndexStatusRequest,
    MatchReply,
    MatchRequest,
)
from farsight.pb.records_pb2 import ServiceRecord
from farsight.replicas import ReplicaPool, ReplicasAway
from farsight.server import Server
from tests.conftest import free_port
from tests.waiting import eventually

Context = grpc.aio.ServicerContext[Any, Any]


class Replica(index_pb2_grpc.IndexServicer):
    """Answers with its name."""

    def __init__(self, name: str, listen: str = "127.0.0.1:0") -> None:
        self.name = name
        self.calls = 0
        self.hold = asyncio.Event()
        self.hold.set()
        self.error: Exception | None = None
        self._server = Server(listen)
        self.address = self._server.address
        index_pb2_grpc.add_IndexServicer_to_server(self, self._server.grpc)

    async def Match(self, request: MatchRequest, context: Context) -> MatchReply:
        """Its name, when it may."""
        self.calls += 1
        await self.hold.wait()
        if self.error is not None:
            raise self.error
        return MatchReply(endpoint_ids=[self.name])

    async def Dump(self, request: DumpRequest, context: Context) -> AsyncIterator[DumpChunk]:
        """One empty chunk."""
        yield DumpChunk()

    async def Status(self, request: IndexStatusRequest, context: Context) -> IndexStatusReply:
        """Nothing."""
        return IndexStatusReply()

    async def start(self) -> None:
        """Begin to serve."""
        await self._server.start()

    async def stop(self, drain_s: float = 0) -> None:
        """Refuse new calls, wait for those that run."""
        self.hold.set()
        await self._server.stop(drain_s)


class Pool:
    """A pool and the question that it is asked."""

    def __init__(self) -> None:
        self.replicas = ReplicaPool(index_pb2_grpc.IndexStub)

    def use(self, *addresses: str) -> None:
        """These are the replicas."""
        self.replicas.set_addresses(set(addresses))

    async def ask(self, budget_s: float = 5) -> str:
        """Who answers."""
        reply = await self.replicas.call(lambda stub: stub.Match(MatchRequest()), budget_s)
        return reply.endpoint_ids[0]


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """A pool without replicas."""
    pool = Pool()
    yield pool
    await pool.replicas.close()


@asynccontextmanager
async def replicas(count: int) -> AsyncIterator[list[Replica]]:
    """Replicas that serve."""
    started = [Replica(f"r{i}") for i in range(count)]
    for replica in started:
        await replica.start()
    try:
        yield started
    finally:
        for replica in started:
            await replica.stop()


async def test_without_replicas_it_says_so(pool: Pool) -> None:
    """At once, with the reason that becomes a counter's label."""
    with pytest.raises(ReplicasAway) as away:
        await pool.ask()

    assert away.value.why == "none"


async def test_a_dead_replica_is_passed_over_within_the_call(pool: Pool) -> None:
    """One call, one answer, though the first choice is gone."""
    async with replicas(2) as (one, two):
        pool.use(one.address, two.address)
        preferred = {"r0": one, "r1": two}[await pool.ask()]
        await preferred.stop()

        answers = {await pool.ask() for _ in range(3)}

    assert answers == ({"r0", "r1"} - {preferred.name})


async def test_the_replica_that_answers_is_kept(pool: Pool) -> None:
    """Calls do not wander, so that connections stay warm."""
    async with replicas(3) as all_of_them:
        pool.use(*(replica.address for replica in all_of_them))

        answers = [await pool.ask() for _ in range(6)]

    assert len(set(answers)) == 1


async def test_a_replica_that_comes_back_is_used_again(pool: Pool) -> None:
    """Unreachable while it is away; then the same address answers."""
    address = f"127.0.0.1:{free_port()}"
    pool.use(address)
    with pytest.raises(ReplicasAway) as away:
        await pool.ask()
    assert away.value.why == "unavailable"

    back = Replica("back", address)
    await back.start()
    answers: list[str] = []

    async def retry() -> None:
        while not answers:
            with contextlib.suppress(ReplicasAway):
                answers.append(await pool.ask())
            await asyncio.sleep(0.05)

    await asyncio.wait_for(retry(), 10)
    await back.stop()
    assert answers == ["back"]


async def test_the_budget_ends_a_call(pool: Pool) -> None:
    """A replica that hangs costs the budget once, and is then the last choice."""
    async with replicas(2) as (one, two):
        pool.use(one.address)
        one.hold.clear()

        with pytest.raises(ReplicasAway) as away:
            await pool.ask(0.2)
        pool.use(one.address, two.address)

        assert away.value.why == "timeout"
        assert await pool.ask() == "r1"


async def test_a_replica_that_refuses_is_passed_over(pool: Pool) -> None:
    """A sick replica does not fail the call; when all refuse, the reason says so."""
    async with replicas(2) as (one, two):
        pool.use(one.address, two.address)
        one.error = InvalidField("keys", "better ones")
        assert await pool.ask() == "r1"

        two.error = one.error
        with pytest.raises(ReplicasAway) as away:
            await pool.ask()

        assert away.value.why == "refused"


async def test_a_defect_of_the_caller_is_not_hidden(pool: Pool) -> None:
    """An error of the question itself comes out as it is."""

    async def defect(stub: object) -> None:
        raise KeyError("defect")

    async with replicas(1) as (one,):
        pool.use(one.address)
        with pytest.raises(KeyError):
            await pool.replicas.call(defect, 5)


async def test_a_call_outlives_the_record_of_its_replica(pool: Pool) -> None:
    """A replica that drains withdraws its record first, and still answers what it was asked."""
    async with replicas(2) as (one, two):
        pool.use(one.address)
        one.hold.clear()
        running = asyncio.create_task(pool.ask())
        await eventually(lambda: one.calls == 1)

        pool.use(two.address)
        await asyncio.sleep(0.1)
        one.hold.set()

        assert await running == "r0"
        assert await pool.ask() == "r1"


async def test_new_replicas_are_connected_to_before_the_first_call(pool: Pool) -> None:
    """The first request does not wait for a connection."""
    async with replicas(1) as (one,):
        pool.use(one.address)
        (channel,) = pool.replicas._connections._channels.values()

        await eventually(lambda: channel.get_state() is grpc.ChannelConnectivity.READY)


async def test_records_of_etcd_name_the_replicas(pool: Pool) -> None:
    """Bad records are left out."""
    record = ServiceRecord(kind="indexer", replica_id="a", address="10.0.0.1:1")

    pool.replicas.update({"a": encode_record(record), "b": b"nonsense"})

    assert pool.replicas.addresses == ("10.0.0.1:1",)
