"""OpenAI chats to the text that the model's own chat template makes of them."""

import json
from dataclasses import dataclass
from typing import Any

import jinja2

from farsight.errors import InvalidField
from services.router.chat_messages import as_engine

MAX_MESSAGES = 10_000
_PROBES = ("farsight-probe-1", "farsight-probe-2")
# The engine refuses the first two as well; the others would change more than the text.
_RESERVED_KWARGS = frozenset(
    {"chat_template", "tokenize", "messages", "tools", "conversation", "return_dict",
     "return_tensors", "tokenizer_kwargs", "padding", "truncation", "max_length",
     "return_assistant_tokens_mask", "add_generation_prompt", "continue_final_message"}
)  # fmt: skip
# What templates raise at prompts that they cannot render.
_REFUSALS = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


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
    if reserved := sorted(_RESERVED_KWARGS & kwargs.keys()):
        raise InvalidField("chat.chat_template_kwargs_json", f"template variables, not {reserved}")
    return Chat(
        tuple(messages),
        tuple(tools) if tools else None,
        kwargs,
        add_generation_prompt,
        continue_final_message,
    )


def _json(field: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidField(field, f"JSON: {error}") from error


def wants_parts(tokenizer: Any) -> bool:
    """The template renders each text part of a content array."""
    parts = [{"type": "text", "text": probe} for probe in _PROBES]
    try:
        text = tokenizer.apply_chat_template([{"role": "user", "content": parts}], tokenize=False)
    except _REFUSALS:
        return False
    # A template for strings may write the array itself, as Python or JSON would.
    return all(probe in text for probe in _PROBES) and not any(
        f"{quote}type{quote}" in text for quote in "'\""
    )


def render(tokenizer: Any, chat: Chat, parts: bool) -> str:
    """The prompt text.

    :raises InvalidField: the template refuses the chat, or a content part is not text.
    """
    messages = as_engine(chat.messages, parts, str(tokenizer.chat_template))
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
    except _REFUSALS as error:
        raise InvalidField("chat", f"what the model's chat template accepts: {error}") from error
