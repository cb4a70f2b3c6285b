"""The Index service over gRPC, with an index that the test fills."""

import time
from collections.abc import AsyncIterator, Awaitable

import grpc
import grpc.aio
import pytest

from farsight.channel import connect
from farsight.index.state import KvIndex
from farsight.keys import MAX_KEYS
from farsight.pb import index_pb2_grpc, types_pb2
from farsight.pb.index_pb2 import DumpRequest, IndexStatusRequest, MatchRequest
from farsight.server import FIELD_KEY, REASON_KEY, Server
from services.indexer import service
from services.indexer.service import IndexService
from tests.farsight.index.messages import (
    DEVICE,
    HOST,
    STORAGE,
    STORE,
    Cache,
    change,
    packed,
)


@pytest.fixture
def index() -> KvIndex:
    """Endpoint `a` with blocks on every tier, `b` that waits for a snapshot."""
    index = KvIndex(time.monotonic, lambda endpoint_id: None)
    known, unknown = Cache("a"), Cache("b")
    index.apply(
        known.tell(change(STORE, [1, 2]), change(STORE, [3], HOST), change(STORE, [4, 5], STORAGE))
    )
    index.heard(known.heartbeat())
    unknown.store(1)
    index.heard(unknown.heartbeat())
    return index


@pytest.fixture
async def stub(index: KvIndex) -> AsyncIterator["index_pb2_grpc.IndexAsyncStub"]:
    """A client of a server around the index."""
    server = Server("127.0.0.1:0")
    index_pb2_grpc.add_IndexServicer_to_server(IndexService(index, "indexer-1"), server.grpc)
    await server.start()
    async with connect(server.address) as channel:
        yield index_pb2_grpc.IndexStub(channel)
    await server.stop(0)


async def refusal(call: Awaitable[object]) -> tuple[str, str, str]:
    """Status, reason and field of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    trailing = dict(refused.value.trailing_metadata())
    return refused.value.code().name, str(trailing[REASON_KEY]), str(trailing[FIELD_KEY])


async def test_match_answers_in_columns(stub: "index_pb2_grpc.IndexAsyncStub") -> None:
    """Prefix per tier, age and confidence of each endpoint that is known."""
    reply = await stub.Match(
        MatchRequest(keys=packed([1, 2, 3, 4, 5, 6]), endpoint_ids=["b", "nobody", "a"])
    )

    assert list(reply.endpoint_ids) == ["b", "a"]
    assert list(reply.device_blocks) == [0, 2]
    assert list(reply.host_blocks) == [0, 1]
    assert list(reply.storage_blocks) == [0, 2]
    assert reply.age_ms[0] == 2**32 - 1
    assert reply.age_ms[1] < 60_000
    assert list(reply.confidence) == [
        types_pb2.CONFIDENCE_DEGRADED,
        types_pb2.CONFIDENCE_EXACT,
    ]


async def test_match_without_candidates_answers_for_everyone(
    stub: "index_pb2_grpc.IndexAsyncStub",
) -> None:
    """No ids, and no keys either: every endpoint, with no prefix."""
    everyone = await stub.Match(MatchRequest())
    nobody = await stub.Match(MatchRequest(keys=packed([1]), endpoint_ids=["nobody"]))

    assert set(everyone.endpoint_ids) == {"a", "b"}
    assert list(everyone.device_blocks) == [0, 0]
    assert list(nobody.endpoint_ids) == []


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (MatchRequest(keys=b"\x01" * 15), "keys"),
        (MatchRequest(keys=bytes(8)), "keys"),
        (MatchRequest(keys=b"\x01" * 8 * (MAX_KEYS + 1)), "keys"),
        (MatchRequest(endpoint_ids=["a"] * 4097), "endpoint_ids"),
    ],
    ids=["torn key", "key 0", "too many keys", "too many candidates"],
)
async def test_a_bad_match_names_its_field(
    stub: "index_pb2_grpc.IndexAsyncStub", request_: MatchRequest, field: str
) -> None:
    """INVALID_ARGUMENT, with the field as metadata."""
    assert await refusal(stub.Match(request_)) == ("INVALID_ARGUMENT", "invalid-field", field)


async def test_dump_streams_the_blocks_of_an_endpoint(
    stub: "index_pb2_grpc.IndexAsyncStub", monkeypatch: pytest.MonkeyPatch
) -> None:
    """In chunks, tier by tier, with the delta that they are of."""
    monkeypatch.setattr(service, "DUMP_CHUNK_KEYS", 1)

    chunks = [chunk async for chunk in stub.Dump(DumpRequest(endpoint_id="a"))]

    assert [chunk.tier for chunk in chunks] == [DEVICE, DEVICE, HOST, STORAGE, STORAGE]
    assert {(chunk.epoch, chunk.seq) for chunk in chunks} == {(1, 1)}
    assert {chunk.keys for chunk in chunks} == {packed([key]) for key in range(1, 6)}


async def test_dump_of_a_stranger_names_the_field(
    stub: "index_pb2_grpc.IndexAsyncStub", index: KvIndex
) -> None:
    """The known endpoints are named, as far as a status message goes, in a fleet of any size."""
    for i in range(2000):
        index.heard(Cache(f"endpoint-with-a-long-name-{i}").heartbeat())

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async for _ in stub.Dump(DumpRequest(endpoint_id="nobody")):
            pass

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (FIELD_KEY, "endpoint_id") in tuple(refused.value.trailing_metadata())
    assert "'a', 'b'" in str(refused.value.details())


async def test_status_tells_of_every_source(
    stub: "index_pb2_grpc.IndexAsyncStub", index: KvIndex
) -> None:
    """Who answers, how big the index is, and each endpoint with its reason."""
    reply = await stub.Status(IndexStatusRequest())

    assert reply.replica_id == "indexer-1"
    assert reply.distinct_blocks == 2
    assert reply.table_bytes > 0
    assert reply.budget_bytes == index.budget_bytes > 0
    known, unknown = reply.sources
    assert (known.endpoint_id, known.confidence) == ("a", types_pb2.CONFIDENCE_EXACT)
    assert (known.epoch, known.applied_seq, known.announced_seq) == (1, 1, 1)
    assert (known.device_blocks, known.host_blocks, known.storage_blocks) == (2, 1, 2)
    assert (known.storage_pool, known.reason) == ("", "")
    assert (unknown.endpoint_id, unknown.reason) == ("b", "waiting for a snapshot")
    assert (unknown.applied_seq, unknown.announced_seq) == (0, 1)
