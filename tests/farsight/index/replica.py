"""A scripted indexer: a real gRPC server that answers what the test says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from farsight.discovery import encode_record
from farsight.errors import FarsightError
from farsight.index.match import Confidence
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
from farsight.server import Server

Context = grpc.aio.ServicerContext[Any, Any]


class ScriptedIndexer(index_pb2_grpc.IndexServicer):
    """Says of each endpoint in `known` that it holds so many blocks, with a confidence."""

    def __init__(self, replica_id: str, copies: int = 0) -> None:
        self.replica_id = replica_id
        self.copies = copies
        self.known: dict[str, tuple[int, Confidence]] = {}
        self.asked: list[tuple[str, ...]] = []
        self.error: FarsightError | None = None
        self.is_torn = False
        self.hold = asyncio.Event()
        self.hold.set()
        self._server = Server("127.0.0.1:0")
        index_pb2_grpc.add_IndexServicer_to_server(self, self._server.grpc)

    def record(self, ready: bool = True) -> bytes:
        """What it would write into etcd."""
        return encode_record(
            ServiceRecord(
                kind="indexer",
                replica_id=self.replica_id,
                address=self._server.address,
                ready=ready,
                index_copies=self.copies,
            )
        )

    async def Match(self, request: MatchRequest, context: Context) -> MatchReply:
        """What the script says."""
        self.asked.append(tuple(request.endpoint_ids))
        await self.hold.wait()
        if self.error is not None:
            raise self.error
        ids = [e for e in request.endpoint_ids if e in self.known]
        zeros = [0] * len(ids)
        return MatchReply(
            endpoint_ids=ids,
            device_blocks=[self.known[e][0] for e in ids],
            host_blocks=zeros,
            storage_blocks=zeros,
            age_ms=zeros[1:] if self.is_torn else zeros,
            confidence=[int(self.known[e][1]) for e in ids],  # type: ignore[misc] # its number
        )

    async def Dump(self, request: DumpRequest, context: Context) -> AsyncIterator[DumpChunk]:
        """One empty chunk."""
        yield DumpChunk()

    async def Status(self, request: IndexStatusRequest, context: Context) -> IndexStatusReply:
        """Nothing."""
        return IndexStatusReply()

    async def start(self) -> None:
        """Begin to serve."""
        await self._server.start()

    async def stop(self) -> None:
        """Refuse new calls and end those that run."""
        self.hold.set()
        await self._server.stop(0)


@asynccontextmanager
async def indexers(*replicas: ScriptedIndexer) -> AsyncIterator[dict[str, bytes]]:
    """Serves; gives the records."""
    for replica in replicas:
        await replica.start()
    try:
        yield {replica.replica_id: replica.record() for replica in replicas}
    finally:
        for replica in replicas:
            await replica.stop()
