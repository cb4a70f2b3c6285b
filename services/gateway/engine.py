"""One try at one engine: every failure of it is a TryFailed."""

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp

from services.gateway.errors import TryFailed

# Engines close idle connections after 5 s; a connection that may be closing would fail a request.
IDLE_CONNECTION_S = 2.0
_RAW_BODY_BYTES = 1 << 20

# Hop-by-hop headers, those that aiohttp writes itself, and those that are meant for us.
_NOT_FORWARDED = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "date",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-data-parallel-rank",
        "x-request-id",
        "x-slo-tpot-ms",
        "x-slo-ttft-ms",
    }
)


def forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers that pass through the gateway, in either direction, if they can be written again."""
    return {
        name: value
        for name, value in headers.items()
        if name.lower() not in _NOT_FORWARDED
        and not name.lower().startswith("x-farsight-")
        and value.isprintable()
    }


def new_session() -> aiohttp.ClientSession:
    """A session for every engine, without a bound on connections."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_CONNECTION_S)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


@asynccontextmanager
async def ask(
    session: aiohttp.ClientSession,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    connect_s: float,
    silence_s: float,
) -> AsyncIterator[aiohttp.ClientResponse]:
    """POST and wait for the head of the answer; a connection that is left early is closed.

    :raises TryFailed: no connection, no answer within `silence_s`, or a 5xx.
    """
    data = body if len(body) <= _RAW_BODY_BYTES else io.BytesIO(body)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_s, sock_read=silence_s)
    try:
        answer = await session.post(
            url, data=data, headers={**headers, "Accept-Encoding": "identity"}, timeout=timeout
        )
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _failed(error) from error
    async with answer:
        if answer.status >= 500:
            raise TryFailed("status-5xx", str(answer.status))
        yield answer


async def next_bytes(answer: aiohttp.ClientResponse) -> bytes:
    """What has arrived, at least one byte; empty at the end.

    :raises TryFailed: the connection broke or was silent for too long.
    """
    try:
        return await answer.content.readany()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _failed(error) from error


async def whole_body(answer: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    """The body of an answer.

    :raises TryFailed: the connection broke, was silent for too long, or the body is over the limit.
    """
    parts: list[bytes] = []
    left_bytes = limit_bytes
    while part := await next_bytes(answer):
        parts.append(part)
        left_bytes -= len(part)
        if left_bytes < 0:
            raise TryFailed("too-long", f"over {limit_bytes} bytes")
    return b"".join(parts)


def _failed(error: Exception) -> TryFailed:
    match error:
        case aiohttp.ConnectionTimeoutError() | aiohttp.ClientConnectorError():
            kind = "connect"
        case TimeoutError():
            kind = "timeout"
        case _:
            kind = "dropped"
    return TryFailed(kind, str(error) or type(error).__name__)
