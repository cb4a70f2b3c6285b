"""A gRPC server that answers each call with the same bytes, made like every server of Farsight."""

import asyncio
from typing import Any, NoReturn

import grpc
import grpc.aio
import uvloop

from bench.index.progress import Progress
from farsight.server import Server

SERVICE, METHOD = "bench.Echo", "Echo"
PATH = f"/{SERVICE}/{METHOD}"


class EchoServer:
    """One method, in a process of its own.

    :param ready: 1 when it serves.
    """

    def __init__(self, listen: str, answer: bytes, ready: Progress) -> None:
        self._listen = listen
        self._answer = answer
        self._ready = ready

    def serve(self) -> NoReturn:
        """Until the process ends."""
        uvloop.run(self._serve())
        raise AssertionError("it goes on until the process ends")

    async def _serve(self) -> None:
        async def echo(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
            return self._answer

        server = Server(self._listen)
        handlers: dict[str, Any] = {METHOD: grpc.unary_unary_rpc_method_handler(echo)}
        server.grpc.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers),)
        )
        await server.start()
        self._ready.set(1)
        await asyncio.Event().wait()
