"""The indexers' side of a comparison: what every replica holds of one endpoint."""

from collections.abc import AsyncIterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from farsight.cli.asking import NoAnswer, ask
from farsight.cli.enums import confidence_name
from farsight.cli.index_contents import Contents, gathered
from farsight.errors import InvalidField
from farsight.keys import unpack
from farsight.pb.index_pb2 import DumpChunk, DumpRequest, IndexStatusRequest, SourceStatus
from farsight.pb.index_pb2_grpc import IndexStub

if TYPE_CHECKING:
    from farsight.pb.index_pb2_grpc import IndexAsyncStub

DUMP_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Unknown:
    """The replica knows nothing of the endpoint."""


@dataclass(frozen=True, slots=True)
class Dump:
    """What a replica holds of an endpoint, and what it says of it."""

    contents: Contents
    confidence: str
    reason: str
    storage_pool: str


async def dump(address: str, endpoint_id: str) -> Dump | Unknown | NoAnswer:
    """Everything that the replica at `address` holds of an endpoint."""

    async def call(channel: grpc.aio.Channel) -> Dump | Unknown | NoAnswer:
        return await _dump(IndexStub(channel), endpoint_id)

    return await ask(address, call, DUMP_LIMIT_S)


async def _dump(stub: "IndexAsyncStub", endpoint_id: str) -> Dump | Unknown | NoAnswer:
    source = await _source(stub, endpoint_id)
    if source is None:
        return Unknown()
    try:
        contents = await _contents(stub.Dump(DumpRequest(endpoint_id=endpoint_id)))
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
            return Unknown()  # forgotten since
        raise
    except InvalidField as error:
        return NoAnswer(f"its dump is refused: {error}")
    if contents is None:
        after = await _source(stub, endpoint_id)
        if after is None or (after.epoch, after.applied_seq) != (source.epoch, source.applied_seq):
            return NoAnswer("it held nothing, and changed meanwhile")
        contents = Contents(after.epoch, after.applied_seq, {})
    return Dump(contents, confidence_name(source.confidence), source.reason, source.storage_pool)


async def _source(stub: "IndexAsyncStub", endpoint_id: str) -> SourceStatus | None:
    status = await stub.Status(IndexStatusRequest())
    return next((s for s in status.sources if s.endpoint_id == endpoint_id), None)


async def _contents(chunks: AsyncIterable[DumpChunk]) -> Contents | None:
    """Contents from the chunks; None when there are none, so that nothing says of when they are.

    :raises InvalidField: keys are malformed, or the chunks are not of one delta.
    """
    parts, moments = [], set()
    async for chunk in chunks:
        moments.add((chunk.epoch, chunk.seq))
        parts.append(((chunk.tier, chunk.group), unpack(chunk.keys, "keys")))
    if not moments:
        return None
    if len(moments) > 1:
        raise InvalidField("seq", "one delta for all chunks")
    ((epoch, seq),) = moments
    return gathered(epoch, seq, parts)
