"""The prompt of a Route call from the command line."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from farsight.errors import InvalidField
from farsight.pb.router_pb2 import Chat, RouteRequest

MAX_TOKEN_ID = 2**32 - 1
MAX_CHAT_BYTES = 16 * 1024 * 1024


def set_prompt(
    request: RouteRequest, text: str | None, tokens: str | None, chat_file: Path | None
) -> None:
    """Fill the request's prompt from the one option that was given.

    :raises InvalidField: none or several were given, or it does not parse.
    """
    if sum(option is not None for option in (text, tokens, chat_file)) != 1:
        raise InvalidField("prompt", "exactly one of --text, --tokens and --chat-file")
    if text is not None:
        request.text = text
    elif tokens is not None:
        request.token_ids = parse_tokens(tokens)
    elif chat_file is not None:
        request.chat.CopyFrom(read_chat(chat_file))


def parse_tokens(listed: str) -> bytes:
    """Token ids `1,2,3` as uint32 little-endian."""
    ids = []
    for part in listed.split(","):
        if not part.strip().isdecimal() or int(part) > MAX_TOKEN_ID:
            raise InvalidField("--tokens", f"ids 0 to {MAX_TOKEN_ID} like 1,2,3, not {part[:32]!r}")
        ids.append(int(part))
    return np.array(ids, "<u4").tobytes()


def read_chat(path: Path) -> Chat:
    """A chat from a file: an OpenAI `messages` array, or a request body that has one."""
    if path.stat().st_size > MAX_CHAT_BYTES:
        raise InvalidField("--chat-file", f"at most {MAX_CHAT_BYTES} bytes")
    try:
        body = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidField("--chat-file", f"JSON: {error}") from error
    if isinstance(body, list):
        return Chat(messages_json=json.dumps(body))
    if not isinstance(body, dict) or "messages" not in body:
        raise InvalidField("--chat-file", "an array of messages, or an object with `messages`")
    return Chat(
        messages_json=json.dumps(body["messages"]),
        tools_json=_optional(body, "tools"),
        chat_template_kwargs_json=_optional(body, "chat_template_kwargs"),
        no_generation_prompt=body.get("add_generation_prompt") is False,
        continue_final_message=body.get("continue_final_message") is True,
    )


def _optional(body: Mapping[str, Any], field: str) -> str:
    return json.dumps(body[field]) if body.get(field) else ""
