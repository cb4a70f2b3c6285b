"""JSON over HTTP: bodies in, documents and refusals out."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from sim.emulator.errors import Refused, malformed

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
MAX_BODY_BYTES = 64 << 20


async def read_json(request: web.Request) -> bytes:
    """The body of a JSON request.

    :raises Refused: it says that it is something else.
    """
    if request.content_type != "application/json":
        raise malformed("Unsupported Media Type: Only 'application/json' is allowed", None)
    return await request.read()


def json_response(document: Any, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(
        body=msgspec.json.encode(document), status=status, content_type="application/json"
    )


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refused requests get vLLM's error, unknown paths the one of its web framework."""
    try:
        return await handler(request)
    except Refused as error:
        return web.Response(body=error.body(), status=error.status, content_type="application/json")
    except web.HTTPException as error:
        return json_response({"detail": error.reason}, error.status)
