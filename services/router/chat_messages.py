"""Chat messages as the engine hands them to a chat template (vLLM's rules).

Templates that render content arrays get arrays of text parts, all others get a string, with text
parts joined by newlines; tool results are always strings. Arguments of tool calls become objects.
A template that does not know the role `developer` gets one leading system message instead.
"""

import json
from collections.abc import Sequence
from typing import Any

from farsight.errors import InvalidField

Message = dict[str, Any]

# Type of a part that is text, and the key that holds the text.
_TEXT_KEYS = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
    "thinking": "thinking",
}


def as_engine(messages: Sequence[Message], parts: bool, template: str) -> list[Message]:
    """The messages for a template.

    :param parts: the template renders content arrays.
    :raises InvalidField: a content part is not text, or a tool call is malformed.
    """
    made = [_message(i, message, parts) for i, message in enumerate(messages)]
    knows_developer = '"developer"' in template or "'developer'" in template
    if knows_developer or all(message["role"] != "developer" for message in made):
        return made
    for message in made:
        if message["role"] == "developer":
            message["role"] = "system"
            message.pop("tools", None)
    return _one_system_message(made)


def _message(at: int, message: Message, parts: bool) -> Message:
    field = f"chat.messages_json[{at}]"
    role = message["role"]
    texts = _texts(f"{field}.content", message.get("content"))
    content: str | list[Message]
    if not parts:
        content = "\n".join(text for text in texts if text)
    elif role == "tool":
        content = "\n".join(texts)
    else:
        content = [{"type": "text", "text": text} for text in texts]
    made: Message = {"role": role, "content": content}
    if role == "assistant":
        if message.get("tool_calls"):
            made["tool_calls"] = _tool_calls(f"{field}.tool_calls", message["tool_calls"])
        if message.get("reasoning") is not None:
            made["reasoning"] = made["reasoning_content"] = message["reasoning"]
    elif role == "tool" and "tool_call_id" in message:
        made["tool_call_id"] = message["tool_call_id"]
    elif role == "developer":
        made["tools"] = message.get("tools")
    if isinstance(message.get("name"), str):
        made["name"] = message["name"]
    return made


def _texts(field: str, content: Any) -> list[str]:
    if content is None:
        return []
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        raise InvalidField(field, "a string or an array of text parts")
    return [_text_of(field, part) for part in content]


def _text_of(field: str, part: Any) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else None
    key = _TEXT_KEYS.get(kind) if isinstance(kind, str) else None
    if key is None:
        raise InvalidField(field, "text parts; other kinds cannot be routed by prefix")
    if not isinstance(part.get(key), str):
        raise InvalidField(f"{field}.{key}", "a string")
    return str(part[key])


def _tool_calls(field: str, calls: Any) -> list[Message]:
    if not isinstance(calls, list):
        raise InvalidField(field, "an array")
    made = []
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise InvalidField(field, "objects with a function")
        arguments = _arguments(function.get("arguments"))
        made.append(call | {"function": function | {"arguments": arguments}})
    return made


def _arguments(given: Any) -> Message:
    """Arguments as an object; whatever is none counts as empty."""
    if isinstance(given, str):
        try:
            given = json.loads(given) if given else {}
        except (ValueError, RecursionError):
            given = {}
    return given if isinstance(given, dict) else {}


def _one_system_message(messages: list[Message]) -> list[Message]:
    system = [message for message in messages if message["role"] == "system"]
    if len(system) == 1 and messages[0] is system[0]:
        return messages
    contents = [_joined(message["content"]) for message in system]
    merged = {"role": "system", "content": "\n\n".join(text for text in contents if text)}
    return [merged, *(message for message in messages if message["role"] != "system")]


def _joined(content: str | list[Message]) -> str:
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content)
