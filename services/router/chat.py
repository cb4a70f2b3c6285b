"""OpenAI chats to the text that the model's own chat template makes of them.

Follows the engine's rules: templates that iterate over content parts get parts, all others get a
string, with text parts joined by newlines.
"""

import json
from dataclasses import dataclass
from typing import Any

import jinja2

from farsight.errors import InvalidField

MAX_MESSAGES = 10_000
_PROBE = "farsight-probe"


@dataclass(frozen=True, slots=True)
class Chat:
    """A parsed chat request."""

    messages: tuple[dict[str, Any], ...]
    tools: tuple[dict[str, Any], ...] | None
    template_kwargs: dict[str, Any]
    add_generation_prompt: bool
    continue_final_message: bool


def parse_chat(
    messages_json: str,
    tools_json: str,
    template_kwargs_json: str,
    add_generation_prompt: bool,
    continue_final_message: bool,
) -> Chat:
    """A chat from its JSON fields.

    :raises InvalidField: a field is no JSON or not of the OpenAI form.
    """
    messages = _json("chat.messages_json", messages_json)
    if not isinstance(messages, list) or not 1 <= len(messages) <= MAX_MESSAGES:
        raise InvalidField("chat.messages_json", f"an array of 1 to {MAX_MESSAGES} messages")
    for i, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise InvalidField(f"chat.messages_json[{i}].role", "a string")
    tools = _json("chat.tools_json", tools_json) if tools_json else None
    if tools is not None and not (
        isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools)
    ):
        raise InvalidField("chat.tools_json", "an array of objects")
    kwargs = (
        _json("chat.chat_template_kwargs_json", template_kwargs_json)
        if template_kwargs_json
        else {}
    )
    if not isinstance(kwargs, dict):
        raise InvalidField("chat.chat_template_kwargs_json", "an object")
    return Chat(
        tuple(messages),
        None if tools is None else tuple(tools),
        kwargs,
        add_generation_prompt,
        continue_final_message,
    )


def _json(field: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidField(field, f"JSON: {error}") from error


def wants_parts(tokenizer: Any) -> bool:
    """The template iterates over content parts: it drops a part list's text when it does not."""

    def renders(content: Any) -> bool:
        try:
            text = tokenizer.apply_chat_template(
                [{"role": "user", "content": content}], tokenize=False
            )
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, AttributeError):
            return False
        return _PROBE in text and "'type'" not in text and '"type"' not in text

    return renders([{"type": "text", "text": _PROBE}]) and not renders(_PROBE)


def render(tokenizer: Any, chat: Chat, parts: bool) -> str:
    """The prompt text.

    :raises InvalidField: the template refuses the chat, or a content part is not text.
    """
    messages = [_normal(i, message, parts) for i, message in enumerate(chat.messages)]
    try:
        return str(
            tokenizer.apply_chat_template(
                messages,
                tools=None if chat.tools is None else list(chat.tools),
                add_generation_prompt=chat.add_generation_prompt,
                continue_final_message=chat.continue_final_message,
                tokenize=False,
                **chat.template_kwargs,
            )
        )
    except (jinja2.TemplateError, TypeError, ValueError, KeyError) as error:
        raise InvalidField("chat", f"what the model's chat template accepts: {error}") from error


def _normal(at: int, message: dict[str, Any], parts: bool) -> dict[str, Any]:
    content = message.get("content")
    if content is None or isinstance(content, str):
        if parts and isinstance(content, str):
            return message | {"content": [{"type": "text", "text": content}]}
        return message | {"content": "" if content is None else content}
    field = f"chat.messages_json[{at}].content"
    if not isinstance(content, list):
        raise InvalidField(field, "a string or an array of text parts")
    texts = []
    for part in content:
        text = part if isinstance(part, str) else _text_of(field, part)
        texts.append(text)
    if parts:
        return message | {"content": [{"type": "text", "text": text} for text in texts]}
    return message | {"content": "\n".join(texts)}


def _text_of(field: str, part: Any) -> str:
    if not isinstance(part, dict) or part.get("type") not in ("text", "input_text"):
        raise InvalidField(field, "text parts; other kinds cannot be routed by prefix")
    if not isinstance(part.get("text"), str):
        raise InvalidField(f"{field}.text", "a string")
    return str(part["text"])
