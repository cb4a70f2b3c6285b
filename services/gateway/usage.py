"""Token counts as an engine reports them."""

from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

USAGE_KEY = b'"usage":'

Count = Annotated[int, Meta(ge=0, le=2**32 - 1)]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request."""

    prompt_tokens: int
    output_tokens: int
    cached_tokens: int | None  # of the prompt, taken from the engine's caches


class _Details(msgspec.Struct):
    cached_tokens: Count | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: Count
    completion_tokens: Count | None = None
    prompt_tokens_details: _Details | None = None


class _Answer(msgspec.Struct):
    usage: _Usage | None = None


def usage_of(document: bytes) -> Usage | None:
    """The usage in an answer or event; None when there is none."""
    try:
        usage = msgspec.json.decode(document, type=_Answer).usage
    except msgspec.DecodeError:
        return None
    if usage is None:
        return None
    details = usage.prompt_tokens_details
    return Usage(
        usage.prompt_tokens,
        usage.completion_tokens or 0,
        details.cached_tokens if details is not None else None,
    )
