"""The HTTP routes of the gateway."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from farsight import log
from farsight.errors import FarsightError
from services.gateway import metrics
from services.gateway.errors import error_response, response_of
from services.gateway.fleet import Fleet, Model
from services.gateway.parse import Call, parse_chat, parse_completion, request_id_of
from services.gateway.proxy import Proxy

logger = log.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Parse = Callable[[bytes, Mapping[str, str], str], Call]

CLIENT_GONE = 499
_REQUEST_ID = web.RequestKey("request_id", str)


class App:
    """The aiohttp application, and what is in flight in it."""

    def __init__(
        self, proxy: Proxy, fleet: Fleet, max_body_bytes: int, stopping: asyncio.Event
    ) -> None:
        self._proxy = proxy
        self._fleet = fleet
        self._stopping = stopping
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.web = web.Application(middlewares=[_observe], client_max_size=max_body_bytes)
        self.web.on_response_prepare.append(_name_request)
        self.web.add_routes(
            [
                web.post("/v1/completions", self._serves(parse_completion)),
                web.post("/v1/chat/completions", self._serves(parse_chat)),
                web.get("/v1/models", self._models),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
            ]
        )

    async def drained(self, limit_s: float) -> bool:
        """Wait until no request is in flight; False when the time is over first."""
        try:
            await asyncio.wait_for(self._idle.wait(), limit_s)
        except TimeoutError:
            return False
        return True

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._in_flight += 1
        self._idle.clear()
        metrics.in_flight.set(self._in_flight)
        try:
            yield
        finally:
            self._in_flight -= 1
            metrics.in_flight.set(self._in_flight)
            if not self._in_flight:
                self._idle.set()

    def _serves(self, parse: Parse) -> Handler:
        async def serve(http: web.Request) -> web.StreamResponse:
            with self._counted():
                call = parse(await http.read(), http.headers, http[_REQUEST_ID])
                return await self._proxy.serve(http, call)

        return serve

    async def _models(self, http: web.Request) -> web.Response:
        return _json({"object": "list", "data": [_card(model) for model in self._fleet.models]})

    async def _healthz(self, http: web.Request) -> web.Response:
        return _json({"status": "ok"})

    async def _readyz(self, http: web.Request) -> web.Response:
        missing = dict(self._fleet.missing)
        if self._stopping.is_set():
            missing["process"] = "stopping"
        if missing:
            return _json({"status": "not ready", "missing": missing}, status=503)
        return _json({"status": "ready"})

    async def _metrics(self, http: web.Request) -> web.Response:
        text = await asyncio.to_thread(generate_latest)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _json(document: object, status: int = 200) -> web.Response:
    body = msgspec.json.encode(document)
    return web.Response(status=status, body=body, content_type="application/json")


def _card(model: Model) -> dict[str, object]:
    return {
        "id": model.name,
        "object": "model",
        "created": model.since_unix_s,
        "owned_by": "farsight",
        "parent": model.parent,
        "max_model_len": model.max_model_len_tokens,
    }


async def _name_request(http: web.Request, response: web.StreamResponse) -> None:
    if (name := http.get(_REQUEST_ID)) is not None:
        response.headers["x-request-id"] = name


@web.middleware
async def _observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count every request by its outcome."""
    resource = request.match_info.route.resource
    route = "other" if resource is None else resource.canonical
    code = CLIENT_GONE
    try:
        response = await _answer(request, handler)
        code = response.status
        return response
    finally:
        metrics.requests.labels(route, str(code)).inc()


async def _answer(http: web.Request, handler: Handler) -> web.StreamResponse:
    """The handler's answer, or the error in OpenAI's form."""
    try:
        http[_REQUEST_ID] = name = request_id_of(http.headers)
        log.request_id.set(name)
        return await handler(http)
    except FarsightError as error:
        logger.debug("request refused", extra={"error": str(error)})
        return response_of(error)
    except web.HTTPRequestEntityTooLarge as error:
        return error_response(413, error.text or error.reason, "request_too_large")
    except web.RequestPayloadError as error:
        return error_response(400, f"body: {error}", "invalid-field", "body")
    except web.HTTPException as error:
        code = error.reason.lower().replace(" ", "_")
        return error_response(error.status, f"{http.method} {http.path}: {error.reason}", code)
    except ConnectionError:
        raise
    except Exception:
        logger.exception("request failed")
        return error_response(500, "the gateway failed", "internal")
