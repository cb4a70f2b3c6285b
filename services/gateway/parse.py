"""An OpenAI request in, checked: a RouteRequest and the body that the engine gets."""

import math
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Raw, UnsetType

from farsight.errors import InvalidField
from farsight.pb.router_pb2 import Chat, RouteRequest

T = TypeVar("T")

MAX_MODEL_CHARS = 256
MAX_ID_CHARS = 128
_WRONG = re.compile(
    r"Expected (?P<expected>.+?)(?: - at `\$(?:\.(?P<field>[\w-]+))?.*)?", re.DOTALL
)
_MISSING = re.compile(r"Object missing required field `(?P<field>\w+)`.*", re.DOTALL)
_LIST_OF = re.compile(rb"\s*\[\s*(.)", re.DOTALL)
_USAGE = b'"stream_options":{"include_usage":true},'

Tokens = Annotated[int, Meta(ge=0, le=2**31 - 1)]
TokenId = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Priority = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Body(msgspec.Struct, kw_only=True):
    """What both APIs share; fields that are not named here go to the engine unseen."""

    model: Annotated[str, Meta(min_length=1, max_length=MAX_MODEL_CHARS)]
    stream: bool | None = None
    stream_options: _StreamOptions | UnsetType | None = UNSET
    max_tokens: Tokens | None = None
    priority: Priority | None = None
    cache_salt: str | None = None


class _Completion(_Body, kw_only=True):
    prompt: Raw


class _ChatCompletion(_Body, kw_only=True):
    messages: Raw
    tools: Raw = Raw(b"null")
    chat_template_kwargs: Raw = Raw(b"null")
    max_completion_tokens: Tokens | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None


class _Message(msgspec.Struct):
    role: str


@dataclass(frozen=True, slots=True)
class Call:
    """One request, ready to be routed and sent."""

    route: RouteRequest
    body: bytes  # JSON for the engine
    stream: bool
    usage_added: bool  # the client did not ask for the usage event that the engine will send


def parse_completion(body: bytes, headers: Mapping[str, str], request_id: str) -> Call:
    """A `/v1/completions` request.

    :raises InvalidField: the body or a header is bad.
    """
    parsed = _decode(body, _Completion, "")
    request = _route_request(parsed, headers, request_id, parsed.max_tokens)
    _set_prompt(request, bytes(parsed.prompt))
    return _call(request, body, parsed)


def parse_chat(body: bytes, headers: Mapping[str, str], request_id: str) -> Call:
    """A `/v1/chat/completions` request.

    :raises InvalidField: the body or a header is bad.
    """
    parsed = _decode(body, _ChatCompletion, "")
    if parsed.continue_final_message and parsed.add_generation_prompt:
        raise InvalidField("continue_final_message", "add_generation_prompt to be false")
    if not _decode(bytes(parsed.messages), list[_Message], "messages"):
        raise InvalidField("messages", "at least one message")
    limit_tokens = parsed.max_completion_tokens or parsed.max_tokens
    request = _route_request(parsed, headers, request_id, limit_tokens)
    chat = Chat(
        messages_json=bytes(parsed.messages).decode(),
        tools_json=_optional_json(parsed.tools, list[dict[str, Any]], "tools"),
        chat_template_kwargs_json=_optional_json(
            parsed.chat_template_kwargs, dict[str, Any], "chat_template_kwargs"
        ),
        no_generation_prompt=parsed.add_generation_prompt is False,
        continue_final_message=bool(parsed.continue_final_message),
    )
    request.chat.CopyFrom(chat)
    return _call(request, body, parsed)


def request_id_of(headers: Mapping[str, str]) -> str:
    """The client's `x-request-id`, or a new one.

    :raises InvalidField: it cannot be passed on.
    """
    given = headers.get("x-request-id")
    if given is None:
        return uuid.uuid4().hex
    return _short_ascii(given, "x-request-id")


def _short_ascii(text: str, name: str) -> str:
    if not (0 < len(text) <= MAX_ID_CHARS and text.isascii() and text.isprintable()):
        raise InvalidField(name, f"1 to {MAX_ID_CHARS} printable ASCII characters")
    return text


def _optional_ascii(headers: Mapping[str, str], name: str) -> str:
    given = headers.get(name)
    return "" if given is None else _short_ascii(given, name)


def _slo_ms(headers: Mapping[str, str], name: str) -> float | None:
    text = headers.get(name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InvalidField(name, f"milliseconds above 0, not {text[:32]!r}")
    return value


def _route_request(
    body: _Body, headers: Mapping[str, str], request_id: str, max_output_tokens: int | None
) -> RouteRequest:
    return RouteRequest(
        request_id=request_id,
        model=body.model,
        slo_ttft_ms=_slo_ms(headers, "x-slo-ttft-ms"),
        slo_tpot_ms=_slo_ms(headers, "x-slo-tpot-ms"),
        priority=body.priority or 0,
        max_output_tokens=max_output_tokens or 0,
        cache_salt=body.cache_salt or "",
        profile=_optional_ascii(headers, "x-farsight-profile"),
        session_id=_optional_ascii(headers, "x-session-id"),
    )


def _set_prompt(request: RouteRequest, prompt: bytes) -> None:
    """Text, token ids, or a list with one of either."""
    element = _LIST_OF.match(prompt)
    if element is None:
        _set_one(request, _decode(prompt, str, "prompt"))
        return
    match element[1]:
        case b'"':
            several: list[str] | list[list[int]] = _decode(prompt, list[str], "prompt")
        case b"[":
            several = _decode(prompt, list[list[TokenId]], "prompt")
        case _:
            several = [_decode(prompt, list[TokenId], "prompt")]
    if len(several) > 1:
        raise InvalidField("prompt", f"one prompt in a request, not {len(several)}")
    _set_one(request, several[0])


def _set_one(request: RouteRequest, prompt: str | list[int]) -> None:
    if not prompt:
        raise InvalidField("prompt", "a prompt that is not empty")
    if isinstance(prompt, str):
        request.text = prompt
    else:
        request.token_ids = np.array(prompt, "<u4").tobytes()


def _optional_json(raw: Raw, shape: type[T], field: str) -> str:
    """JSON of the shape as text; empty when it is null."""
    data = bytes(raw)
    if data == b"null":
        return ""
    _decode(data, shape, field)
    return data.decode()


def _decode(data: bytes, shape: type[T], field: str) -> T:
    """JSON of the shape; `field` is where `data` stands in the body, empty for the body itself."""
    try:
        return msgspec.json.decode(data, type=shape)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), field) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidField(field or "body", f"JSON: {error}") from None


def _invalid(text: str, field: str) -> InvalidField:
    """What msgspec says about the value at `field`, or about a field of the body."""
    if (missing := _MISSING.fullmatch(text)) is not None:
        return InvalidField(field or missing["field"], f"a value; {text}")
    wrong = _WRONG.fullmatch(text)
    if wrong is None:
        return InvalidField(field or "body", f"another value: {text}")
    return InvalidField(field or wrong["field"] or "body", wrong["expected"])


def _call(request: RouteRequest, body: bytes, parsed: _Body) -> Call:
    options = parsed.stream_options
    asked = isinstance(options, _StreamOptions) and bool(options.include_usage)
    if not parsed.stream or asked:
        return Call(request, body, bool(parsed.stream), usage_added=False)
    if options is UNSET:
        start = body.index(b"{") + 1
        return Call(request, body[:start] + _USAGE + body[start:], stream=True, usage_added=True)
    document = msgspec.json.decode(body)
    document["stream_options"] = {"include_usage": True}
    return Call(request, msgspec.json.encode(document), stream=True, usage_added=True)
