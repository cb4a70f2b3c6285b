"""OpenAI request bodies in, checked as vLLM checks them."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, Raw

from farsight.errors import InvalidField
from farsight.keys import Tokens
from services.router.chat import Chat, parse_chat
from sim.emulator.errors import Refused, malformed

T = TypeVar("T")

Prompt = Tokens | str | Chat
TokenId = Annotated[int, Meta(ge=0, le=2**32 - 1)]
_FIELD = re.compile(r"`\$\.([\w.\[\]]+)`|required field `(\w+)`")
_NULL = Raw(b"null")


@dataclass(frozen=True, slots=True)
class Ask:
    """What a client wants; `max_tokens` is None when it set no limit."""

    model: str | None
    prompt: Prompt
    add_special_tokens: bool
    max_tokens: int | None
    min_tokens: int
    ignore_eos: bool
    cache_salt: str
    stream: bool
    include_usage: bool
    usage_in_every_chunk: bool
    return_token_ids: bool


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None


class _Generation(msgspec.Struct, kw_only=True):
    """What both APIs share; what is not named here changes nothing."""

    model: str | None = None
    max_tokens: int | None = None
    min_tokens: int | None = None
    ignore_eos: bool | None = None
    n: int | None = None
    cache_salt: str | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    return_token_ids: bool | None = None
    logprobs: bool | int | None = None


class _Completion(_Generation, kw_only=True):
    prompt: Any = None
    add_special_tokens: bool = True
    echo: bool | None = None


class _ChatFields(msgspec.Struct, kw_only=True):
    messages: Raw
    tools: Raw = _NULL
    chat_template_kwargs: Raw = _NULL
    add_generation_prompt: bool = True
    continue_final_message: bool = False


class _ChatCompletion(_Generation, kw_only=True):
    max_completion_tokens: int | None = None


class _Tokenize(msgspec.Struct, kw_only=True):
    model: str | None = None
    prompt: str | None = None
    messages: Raw = _NULL
    add_special_tokens: bool = True
    return_token_strs: bool | None = None


class Detokenize(msgspec.Struct):
    """A `/detokenize` request."""

    tokens: list[TokenId]
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Tokenize:
    """A `/tokenize` request."""

    model: str | None
    prompt: str | Chat
    add_special_tokens: bool
    with_strings: bool


def parse_completion(body: bytes) -> Ask:
    """A `/v1/completions` request.

    :raises Refused: the body is bad, or wants what is not emulated.
    """
    parsed = decode(body, _Completion)
    if parsed.echo:
        raise Refused("echo is not emulated", "echo")
    limit = 16 if parsed.max_tokens is None else parsed.max_tokens
    return _ask(parsed, _one_prompt(parsed.prompt), limit, parsed.add_special_tokens)


def parse_chat_completion(body: bytes) -> Ask:
    """A `/v1/chat/completions` request.

    :raises Refused: the body is bad, or wants what is not emulated.
    """
    parsed = decode(body, _ChatCompletion)
    limit = parsed.max_completion_tokens
    return _ask(parsed, _chat(body), parsed.max_tokens if limit is None else limit, False)


def parse_tokenize(body: bytes) -> Tokenize:
    """A `/tokenize` request: of a text or of a chat.

    :raises Refused: the body is bad.
    """
    parsed = decode(body, _Tokenize)
    prompt: str | Chat
    if bytes(parsed.messages) != b"null":
        prompt = _chat(body)
    elif parsed.prompt is not None:
        prompt = parsed.prompt
    else:
        raise malformed("prompt or messages: Field required", "body.prompt")
    return Tokenize(parsed.model, prompt, parsed.add_special_tokens, bool(parsed.return_token_strs))


def decode(body: bytes, shape: type[T]) -> T:
    """JSON of a shape.

    :raises Refused: it is none.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        found = _FIELD.search(str(error))
        name = (found[1] or found[2]) if found else None
        raise malformed(str(error), f"body.{name}" if name else "body") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(f"JSON decode error: {error}", "body") from None


def _ask(parsed: _Generation, prompt: Prompt, limit: int | None, special: bool) -> Ask:
    if parsed.n not in (None, 1):
        raise Refused("n: one answer to a prompt is emulated", "n")
    if parsed.logprobs is not None and parsed.logprobs is not False:
        raise Refused("logprobs are not emulated", "logprobs")
    if limit is not None and limit < 1:
        raise _too_few(limit)
    options = parsed.stream_options or _StreamOptions()
    if parsed.stream_options is not None and not parsed.stream:
        raise Refused(
            "Stream options can only be defined when `stream=True`. (parameter=stream_options)",
            "stream_options",
        )
    return Ask(
        model=parsed.model,
        prompt=prompt,
        add_special_tokens=special,
        max_tokens=limit,
        min_tokens=parsed.min_tokens or 0,
        ignore_eos=bool(parsed.ignore_eos),
        cache_salt=parsed.cache_salt or "",
        stream=bool(parsed.stream),
        include_usage=bool(options.include_usage),
        usage_in_every_chunk=bool(options.include_usage and options.continuous_usage_stats),
        return_token_ids=bool(parsed.return_token_ids),
    )


def _too_few(limit: int) -> Refused:
    return Refused(
        f"max_tokens must be at least 1, got {limit}. (parameter=max_tokens, value={limit})",
        "max_tokens",
    )


def _one_prompt(prompt: Any) -> Tokens | str:
    """Text or token ids, or a list with one of either."""
    if prompt is None or prompt == "":
        raise Refused("Either prompt must be provided and non-empty. (parameter=prompt)", "prompt")
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], list | str):
        if len(prompt) > 1:
            raise Refused("prompt: one prompt in a request is emulated", "prompt")
        prompt = prompt[0]
    if isinstance(prompt, str) and prompt:
        return prompt
    if not isinstance(prompt, list):
        raise malformed("prompt: Input should be a valid string or list", "body.prompt")
    return _token_ids(prompt)


def _token_ids(given: list[Any]) -> Tokens:
    if not given:
        raise Refused("You must pass at least one prompt")
    try:
        ids = np.array(given)
    except (ValueError, OverflowError):
        ids = np.empty(0)
    if ids.ndim != 1 or ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= 2**32:
        raise malformed("prompt: Input should be a list of token ids", "body.prompt")
    return ids.astype(np.uint32)


def _chat(body: bytes) -> Chat:
    """The chat, as the router reads it."""
    parsed = decode(body, _ChatFields)
    if parsed.continue_final_message and parsed.add_generation_prompt:
        raise Refused(
            "Cannot set both `continue_final_message` and `add_generation_prompt` to True."
        )
    if bytes(parsed.messages) == b"[]":
        raise Refused("Cannot apply chat template to an empty conversation.")
    try:
        return parse_chat(
            bytes(parsed.messages).decode(),
            _text(parsed.tools),
            _text(parsed.chat_template_kwargs),
            parsed.add_generation_prompt,
            parsed.continue_final_message,
        )
    except InvalidField as error:
        raise malformed(str(error), f"body.{error.field.removeprefix('chat.')}") from None


def _text(raw: Raw) -> str:
    text = bytes(raw).decode()
    return "" if text == "null" else text


def room_for(ask: Ask, prompt: Tokens, limit_tokens: int) -> int:
    """Tokens that the answer can have at most.

    :raises Refused: the prompt is empty or fills the context, or the bounds contradict each other.
    """
    if not prompt.size:
        raise Refused("The decoder prompt cannot be empty")
    if prompt.size > limit_tokens:
        raise Refused(
            f"This model's maximum context length is {limit_tokens} tokens. However, your prompt "
            f"contains {prompt.size} input tokens, which exceeds this limit even without any "
            f"output tokens. (parameter=input_tokens, value={prompt.size})",
            "input_tokens",
        )
    room = limit_tokens - prompt.size
    most = room if ask.max_tokens is None else min(room, ask.max_tokens)
    if most < 1:
        raise _too_few(most)
    if ask.min_tokens > most:
        raise Refused(
            f"min_tokens must be less than or equal to max_tokens={most}, got {ask.min_tokens}."
        )
    return int(most)
