"""The gRPC server of a service: health, reflection, errors to statuses, metrics, request ids."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from farsight import metrics
from farsight.channel import MAX_MESSAGE_BYTES, MAX_SERVED_BYTES
from farsight.errors import FarsightError
from farsight.log import get_logger, request_id

log = get_logger(__name__)

REQUEST_ID_KEY = "x-request-id"
REASON_KEY = "farsight-reason"
FIELD_KEY = "farsight-field"
# Status messages travel in HTTP/2 headers, which clients take up to 8 KiB of.
MAX_STATUS_CHARS = 1024
MAX_REQUEST_ID_CHARS = 128
# Without this, two servers may share a port, and each gets some of the other's calls.
_SERVER_OPTIONS = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_SERVED_BYTES),
    ("grpc.so_reuseport", 0),
)


async def _abort(context: grpc.aio.ServicerContext[Any, Any], error: FarsightError) -> NoReturn:
    trailing = ((REASON_KEY, error.reason), (FIELD_KEY, error.field))
    await context.abort(error.code, str(error)[:MAX_STATUS_CHARS], trailing)
    raise AssertionError("abort raises")


class _Interceptor(grpc.aio.ServerInterceptor):
    """Binds the request id, times the call and turns our errors into statuses."""

    def __init__(self) -> None:
        self._handlers: dict[str, Any] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        method = details.method
        wrapped = self._handlers.get(method)
        if wrapped is not None:
            return wrapped
        handler = await continuation(details)
        if handler is None or method.startswith("/grpc."):
            return handler
        make = _stream_handler if handler.response_streaming else _single_handler
        wrapped = self._handlers[method] = make(handler, _Calls(method.rpartition("/")[2]))
        return wrapped


class _Calls:
    """What is noted of each call of one method."""

    def __init__(self, method: str) -> None:
        self._method = method
        self._observe = {"OK": metrics.rpc_seconds.labels(method, "OK").observe}

    def begin(self, context: grpc.aio.ServicerContext[Any, Any]) -> float:
        """Bind the request id; the moment, for `end`."""
        given = ""
        for key, value in context.invocation_metadata() or ():
            if key == REQUEST_ID_KEY and isinstance(value, str):
                given = value[:MAX_REQUEST_ID_CHARS]
        request_id.set(given)
        return time.perf_counter()

    def end(self, started: float, code: str) -> None:
        """The call has ended with a status."""
        observe = self._observe.get(code)
        if observe is None:
            observe = metrics.rpc_seconds.labels(self._method, code).observe
            self._observe[code] = observe
        observe(time.perf_counter() - started)


def _single_handler(handler: Any, calls: _Calls) -> Any:
    streaming = handler.request_streaming
    behaviour = handler.stream_unary if streaming else handler.unary_unary

    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        started = calls.begin(context)
        code = "OK"
        try:
            return await behaviour(request, context)
        except FarsightError as error:
            code = error.code.name
            await _abort(context, error)
        except BaseException:
            code = "UNKNOWN"
            raise
        finally:
            calls.end(started, code)

    make = (
        grpc.stream_unary_rpc_method_handler if streaming else grpc.unary_unary_rpc_method_handler
    )
    return make(call, handler.request_deserializer, handler.response_serializer)


def _stream_handler(handler: Any, calls: _Calls) -> Any:
    streaming = handler.request_streaming
    behaviour = handler.stream_stream if streaming else handler.unary_stream

    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        started = calls.begin(context)
        code = "OK"
        try:
            async for message in behaviour(request, context):
                yield message
        except FarsightError as error:
            code = error.code.name
            await _abort(context, error)
        except BaseException:
            code = "UNKNOWN"
            raise
        finally:
            calls.end(started, code)

    make = (
        grpc.stream_stream_rpc_method_handler if streaming else grpc.unary_stream_rpc_method_handler
    )
    return make(call, handler.request_deserializer, handler.response_serializer)


class Server:
    """A grpc.aio server with health and reflection."""

    def __init__(self, listen: str) -> None:
        self.grpc = grpc.aio.server(interceptors=[_Interceptor()], options=_SERVER_OPTIONS)
        self._host = listen.rpartition(":")[0]
        port = self.grpc.add_insecure_port(listen)
        self.address = f"{self._host}:{port}"
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.grpc)
        self._names: list[str] = []

    def expose(self, service_name: str) -> None:
        """Report health for a service and list it in reflection."""
        self._names.append(service_name)

    async def start(self) -> None:
        """Begin to serve; health says NOT_SERVING until `set_serving`."""
        names = (*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self.grpc)
        await self.set_serving(False)
        await self.grpc.start()

    async def set_serving(self, serving: bool) -> None:
        """Set the health of every service."""
        status = health_pb2.HealthCheckResponse
        state = status.SERVING if serving else status.NOT_SERVING
        for name in ("", *self._names):
            await self._health.set(name, state)

    async def stop(self, drain_s: float) -> None:
        """Refuse new calls, wait up to `drain_s` for running ones."""
        await self.grpc.stop(drain_s)
