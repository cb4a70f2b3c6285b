"""Chats: parsing, the engine's rules for messages, templates that accept and refuse."""

import json
from pathlib import Path
from typing import Any

import pytest

from farsight.errors import InvalidField
from services.router.chat import Chat, parse_chat, render, wants_parts
from services.router.tokenizers import load
from tests.fakes.tokenizer import PARTS_TEMPLATE, STRING_TEMPLATE, save_tokenizer


def chat(
    messages: Any, tools: Any = None, kwargs: Any = None, opening: bool = True, final: bool = False
) -> Chat:
    """A parsed chat."""
    return parse_chat(
        messages if isinstance(messages, str) else json.dumps(messages),
        "" if tools is None else json.dumps(tools),
        "" if kwargs is None else json.dumps(kwargs),
        opening,
        final,
    )


def user(content: Any) -> list[dict[str, Any]]:
    """One user message."""
    return [{"role": "user", "content": content}]


def rendered(folder: Path, template: str, made: Chat) -> str:
    """The prompt text that a template makes."""
    loaded = load(save_tokenizer(folder, template))
    return render(loaded.backend, made, loaded.content_parts)


@pytest.mark.parametrize(
    ("messages", "tools", "kwargs", "field"),
    [
        ("{", None, None, "chat.messages_json: expected JSON"),
        ("[" * 100_000, None, None, "chat.messages_json: expected JSON"),
        ("9" * 5_000, None, None, "chat.messages_json: expected JSON"),
        ("{}", None, None, "chat.messages_json: expected an array of 1 to"),
        ("[]", None, None, "chat.messages_json: expected an array of 1 to"),
        ([{"role": "user"}] * 10_001, None, None, "chat.messages_json: expected an array of 1 to"),
        (["hi"], None, None, r"chat.messages_json\[0\].role"),
        ([{"role": "user"}, {"role": 7}], None, None, r"chat.messages_json\[1\].role"),
        (user("hi"), {}, None, "chat.tools_json"),
        (user("hi"), ["x"], None, "chat.tools_json"),
        (user("hi"), None, [], "chat.chat_template_kwargs_json"),
        (user("hi"), None, {"chat_template": "x"}, "template variables, not .'chat_template'"),
        (user("hi"), None, {"tokenize": True}, "chat.chat_template_kwargs_json"),
        (user("hi"), None, {"add_generation_prompt": 1}, "chat.chat_template_kwargs_json"),
    ],
)
def test_a_bad_field_is_named(messages: Any, tools: Any, kwargs: Any, field: str) -> None:
    """Whatever is wrong with the JSON, the client learns which field it was."""
    with pytest.raises(InvalidField, match=field):
        chat(messages, tools, kwargs)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("hello", "<user>hello</s>"),
        ("", "<user></s>"),
        (None, "<user></s>"),
        ([{"type": "text", "text": "hello"}], "<user>hello</s>"),
        (["a", {"type": "input_text", "text": "b"}], "<user>a\nb</s>"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": ""}], "<user>a</s>"),
        ([{"type": "refusal", "refusal": "no"}], "<user>no</s>"),
        ([], "<user></s>"),
    ],
)
def test_a_string_template_gets_text_parts_joined_by_newlines(
    tmp_path: Path, content: Any, text: str
) -> None:
    """As the engine does it; empty parts leave no line."""
    assert rendered(tmp_path, STRING_TEMPLATE, chat(user(content))) == text + "<assistant>"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("hello", "<user>[hello]</s>"),
        ([{"type": "text", "text": "a"}, "b"], "<user>[a][b]</s>"),
        (None, "<user></s>"),
    ],
)
def test_a_parts_template_gets_parts(tmp_path: Path, content: Any, text: str) -> None:
    """A string becomes one part."""
    assert rendered(tmp_path, PARTS_TEMPLATE, chat(user(content))) == text + "<assistant>"


@pytest.mark.parametrize(
    ("template", "parts"),
    [
        (STRING_TEMPLATE, False),
        (PARTS_TEMPLATE, True),
        (
            "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}"
            "{% for p in m.content %}{{ p.text }}{% endfor %}{% endif %}{% endfor %}",
            True,
        ),
        ("{% for m in messages %}{{ m.content | tojson }}{% endfor %}", False),
        ("{{ raise_exception('no') }}", False),
        ("{{ messages[0].content.strip() }}", False),
        ("{{ messages[0].content[0].text }}", False),
    ],
    ids=["string", "parts", "both", "dumps", "refuses", "strips", "first part only"],
)
def test_the_content_form_is_found_by_trial(tmp_path: Path, template: str, parts: bool) -> None:
    """Parts only where each of them is rendered."""
    assert wants_parts(load(save_tokenizer(tmp_path, template)).backend) is parts


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (7, r"chat.messages_json\[0\].content: expected a string or an array"),
        ({"type": "text"}, r"chat.messages_json\[0\].content: expected a string or an array"),
        ([{"type": "image_url"}], r"chat.messages_json\[0\].content: expected text parts"),
        ([{"type": ["text"]}], r"chat.messages_json\[0\].content: expected text parts"),
        ([7], r"chat.messages_json\[0\].content: expected text parts"),
        ([{"type": "text"}], r"chat.messages_json\[0\].content.text: expected a string"),
        ([{"type": "text", "text": 7}], r"chat.messages_json\[0\].content.text"),
    ],
)
def test_content_that_is_not_text_is_refused(tmp_path: Path, content: Any, field: str) -> None:
    """Images cannot be routed by prefix."""
    with pytest.raises(InvalidField, match=field):
        rendered(tmp_path, STRING_TEMPLATE, chat(user(content)))


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('roles must alternate') }}",
        "{{ messages[5].content }}",
        "{{ 1 / 0 }}",
        "{{ messages[0].content.nothing() }}",
        "{% for m in messages %}{% include 'file' %}{% endfor %}",
        "{{ messages[0]['content'] + 1 }}",
    ],
)
def test_a_template_that_fails_refuses_the_chat(tmp_path: Path, template: str) -> None:
    """It is the request that it does not accept."""
    with pytest.raises(InvalidField, match="chat: expected what the model's chat template"):
        rendered(tmp_path, template, chat(user("hi")))


def test_a_model_without_a_template_takes_no_chat(tmp_path: Path) -> None:
    """The engine refuses it as well."""
    with pytest.raises(InvalidField, match="chat"):
        rendered(tmp_path, "", chat(user("hi")))


def test_the_opening_and_the_open_end_are_the_clients_choice(tmp_path: Path) -> None:
    """No opening, or a last message that goes on."""
    told = [*user("hi"), {"role": "assistant", "content": "well"}]

    closed = rendered(tmp_path / "a", STRING_TEMPLATE, chat(told, opening=False))
    left_open = rendered(tmp_path / "b", STRING_TEMPLATE, chat(told, opening=False, final=True))

    assert closed == "<user>hi</s><assistant>well</s>"
    assert left_open == "<user>hi</s><assistant>well"


def test_template_variables_and_tools_reach_the_template(tmp_path: Path) -> None:
    """An empty list of tools is none."""
    template = "{{ mood }}{% if tools %}{{ tools[0].function.name }}{% endif %}"
    tool = {"type": "function", "function": {"name": "look"}}

    with_tools = rendered(tmp_path / "a", template, chat(user("x"), [tool], {"mood": "calm "}))
    without = rendered(tmp_path / "b", template, chat(user("x"), [], {"mood": "calm"}))

    assert (with_tools, without) == ("calm look", "calm")


CALLS = (
    "{% for m in messages %}{% for c in m.tool_calls or [] %}"
    "{{ c.function.arguments.city }};{% endfor %}{% endfor %}"
)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"city": "Ulm"}', "Ulm;"),
        ({"city": "Ulm"}, "Ulm;"),
        ("", ";"),
        (None, ";"),
        ("{", ";"),
        ("[1]", ";"),
        (7, ";"),
    ],
)
def test_arguments_of_tool_calls_are_objects(tmp_path: Path, arguments: Any, text: str) -> None:
    """Templates read them by name; what is no object counts as empty."""
    call = {"type": "function", "function": {"name": "look", "arguments": arguments}}
    told = [*user("x"), {"role": "assistant", "content": None, "tool_calls": [call]}]

    assert rendered(tmp_path, CALLS, chat(told)) == text


@pytest.mark.parametrize("calls", ["x", [7], [{"function": "look"}], [{}]])
def test_malformed_tool_calls_are_refused(tmp_path: Path, calls: Any) -> None:
    """The message is named."""
    told = [{"role": "assistant", "tool_calls": calls}]

    with pytest.raises(InvalidField, match=r"chat.messages_json\[0\].tool_calls"):
        rendered(tmp_path, CALLS, chat(told))


def test_tool_results_are_strings_for_every_template(tmp_path: Path) -> None:
    """Also for one that wants parts."""
    template = PARTS_TEMPLATE.replace("{% for", "{{ messages[-1].content is string }}{% for", 1)
    told = [*user("x"), {"role": "tool", "tool_call_id": "1", "content": [
        {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]  # fmt: skip

    assert rendered(tmp_path, template, chat(told)).startswith("True")


def test_unknown_fields_of_messages_do_not_reach_the_template(tmp_path: Path) -> None:
    """The engine drops them; a name stays."""
    template = "{{ messages[0].secret is defined }} {{ messages[0].name }}"

    text = rendered(
        tmp_path, template, chat([{"role": "user", "content": "x", "secret": 1, "name": "Ada"}])
    )

    assert text == "False Ada"


def test_a_developer_message_becomes_the_system_message(tmp_path: Path) -> None:
    """Merged with others to the front, unless the template knows the role."""
    told = [{"role": "system", "content": "one"}, *user("hi"),
            {"role": "developer", "content": "two"}]  # fmt: skip
    knows = STRING_TEMPLATE + "{# 'developer' #}"

    merged = rendered(tmp_path / "a", STRING_TEMPLATE, chat(told, opening=False))
    kept = rendered(tmp_path / "b", knows, chat(told, opening=False))

    assert merged == "<system>one\n\ntwo</s><user>hi</s>"
    assert kept == "<system>one</s><user>hi</s><developer>two</s>"
