"""Errors to OpenAI's JSON form.

FarsightError
├── (those of `farsight.errors`)
├── EndpointsFailed   502   every alternative failed before its first byte
└── TryFailed         (internal)   one endpoint did not serve the request
"""

import re
from collections.abc import Mapping, Sequence

import msgspec
from aiohttp import web

from farsight.errors import FarsightError, InvalidField, NoEndpoint, Overloaded, UnknownModel
from farsight.replicas import ReplicasAway

RETRY_AFTER_S = 1

_NAME = re.compile(r"[\w-]+")

# What the fields of a RouteRequest are called in an OpenAI request.
_PARAMS = {
    "text": "prompt",
    "token_ids": "prompt",
    "chat": "messages",
    "messages_json": "messages",
    "tools_json": "tools",
    "chat_template_kwargs_json": "chat_template_kwargs",
    "max_output_tokens": "max_tokens",
    "slo_ttft_ms": "x-slo-ttft-ms",
    "slo_tpot_ms": "x-slo-tpot-ms",
    "profile": "x-farsight-profile",
    "request_id": "x-request-id",
    "session_id": "x-session-id",
}


class TryFailed(FarsightError):
    """One endpoint did not serve the request; `kind` is a counter's label."""

    reason = "try-failed"

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind


class EndpointsFailed(FarsightError):
    """Every endpoint that was tried failed before its first byte."""

    reason = "endpoints-failed"

    def __init__(self, tried: Sequence[str]) -> None:
        super().__init__(f"every endpoint failed before its first byte: {', '.join(tried)}")
        self.tried = tuple(tried)


def error_body(message: str, kind: str, param: str | None, code: str) -> bytes:
    """The JSON of an OpenAI error."""
    return msgspec.json.encode(
        {"error": {"message": message, "type": kind, "param": param, "code": code}}
    )


def error_response(
    status: int,
    message: str,
    code: str,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """An OpenAI error."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    if status == 429:
        kind = "rate_limit_error"
    extra = dict(headers or {})
    if status in (429, 503):
        extra["Retry-After"] = str(RETRY_AFTER_S)
    return web.Response(
        status=status,
        body=error_body(message, kind, param, code),
        content_type="application/json",
        headers=extra,
    )


def _param(field: str) -> str:
    """A field of a RouteRequest, or a part of one, as the client knows it."""
    path = field.removeprefix("chat.")
    name = _NAME.match(path)
    return path if name is None else _PARAMS.get(name[0], name[0]) + path[name.end() :]


def response_of(error: FarsightError) -> web.Response:
    """What the client is told about an error of ours."""
    match error:
        case InvalidField():
            param = _param(error.field)
            return error_response(400, f"{param}: expected {error.expected}", error.reason, param)
        case UnknownModel():
            return error_response(404, str(error), "model_not_found", "model")
        case Overloaded():
            return error_response(429, str(error), error.reason)
        case NoEndpoint() | ReplicasAway():
            return error_response(503, str(error), error.reason)
        case EndpointsFailed():
            return error_response(502, str(error), error.reason)
        case _:
            return error_response(500, str(error), error.reason)
