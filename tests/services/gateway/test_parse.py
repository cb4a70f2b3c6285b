"""OpenAI requests: what becomes of good ones, and which field bad ones name."""

import json
from typing import Any

import numpy as np
import pytest

from farsight.errors import InvalidField
from services.gateway.parse import Call, parse_chat, parse_completion, request_id_of

COMPLETION: dict[str, Any] = {"model": "m", "prompt": "hello"}
CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def completion(changes: dict[str, Any], headers: dict[str, str] | None = None) -> Call:
    """Parse COMPLETION with changes."""
    return parse_completion(json.dumps(COMPLETION | changes).encode(), headers or {}, "r")


def chat(changes: dict[str, Any]) -> Call:
    """Parse CHAT with changes."""
    return parse_chat(json.dumps(CHAT | changes).encode(), {}, "r")


def test_a_completion_becomes_a_route_request() -> None:
    """Body fields and headers arrive under their names."""
    call = completion(
        {"max_tokens": 7, "priority": -3, "cache_salt": "s", "stream": False},
        {
            "x-slo-ttft-ms": "250",
            "x-slo-tpot-ms": "2.5e1",
            "x-farsight-profile": "p",
            "x-session-id": "u",
        },
    )

    route = call.route
    assert (route.model, route.text, route.request_id) == ("m", "hello", "r")
    assert (route.slo_ttft_ms, route.slo_tpot_ms, route.profile) == (250, 25, "p")
    assert route.session_id == "u"
    assert (route.max_output_tokens, route.priority, route.cache_salt) == (7, -3, "s")
    assert not call.stream


def test_absent_slos_stay_absent() -> None:
    """No header is no target, not a target of 0."""
    route = completion({}).route

    assert not route.HasField("slo_ttft_ms")
    assert not route.HasField("slo_tpot_ms")


@pytest.mark.parametrize("prompt", [[1, 2, 2**32 - 1], [[1, 2, 2**32 - 1]]])
def test_token_ids_travel_as_packed_uint32(prompt: list[Any]) -> None:
    """A flat list and a list with one list are the same prompt."""
    route = completion({"prompt": prompt}).route

    assert np.frombuffer(route.token_ids, "<u4").tolist() == [1, 2, 2**32 - 1]


def test_a_list_with_one_text_is_that_text() -> None:
    """OpenAI clients wrap a single prompt."""
    assert completion({"prompt": ["hello"]}).route.text == "hello"


def test_a_chat_keeps_its_json() -> None:
    """Messages, tools and template variables go on as the client wrote them."""
    call = chat(
        {
            "tools": [{"type": "function"}],
            "chat_template_kwargs": {"thinking": True},
            "add_generation_prompt": False,
            "continue_final_message": True,
            "max_tokens": 5,
            "max_completion_tokens": 9,
        }
    )

    sent = call.route.chat
    assert json.loads(sent.messages_json) == CHAT["messages"]
    assert json.loads(sent.tools_json) == [{"type": "function"}]
    assert json.loads(sent.chat_template_kwargs_json) == {"thinking": True}
    assert sent.no_generation_prompt
    assert sent.continue_final_message
    assert call.route.max_output_tokens == 9


def test_nulls_are_the_defaults() -> None:
    """A client that sends null for every optional field gets the plain request."""
    call = chat(dict.fromkeys(("tools", "stream", "max_tokens", "priority", "cache_salt")))

    assert call.route.chat.tools_json == ""
    assert call.route.max_output_tokens == 0


@pytest.mark.parametrize(
    ("options", "added"),
    [
        ({}, True),
        ({"stream_options": None}, True),
        ({"stream_options": {"include_usage": False, "continuous_usage_stats": True}}, True),
        ({"stream_options": {"include_usage": True}}, False),
    ],
)
def test_streams_always_ask_the_engine_for_usage(options: dict[str, Any], added: bool) -> None:
    """It is added when the client does not ask; the rest of the body stays."""
    call = completion({"stream": True, "seed": 2**70, **options})

    assert call.usage_added is added
    expected = COMPLETION | {"stream": True, "seed": 2**70}
    assert json.loads(call.body) == expected | {"stream_options": {"include_usage": True}}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model": 3}, "model"),
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [""]}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [[1], [2]]}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": [2**32]}, "prompt"),
        ({"prompt": [1.5]}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"priority": 2**31}, "priority"),
        ({"cache_salt": 1}, "cache_salt"),
    ],
    ids=str,
)
def test_a_bad_completion_names_its_field(changes: dict[str, Any], field: str) -> None:
    """Wrong types and values are refused before anybody is asked."""
    with pytest.raises(InvalidField) as raised:
        completion(changes)

    assert raised.value.field == field


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"content": "hi"}]}, "messages"),
        ({"messages": None}, "messages"),
        ({"tools": {}}, "tools"),
        ({"chat_template_kwargs": []}, "chat_template_kwargs"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        (
            {"add_generation_prompt": True, "continue_final_message": True},
            "continue_final_message",
        ),
    ],
    ids=str,
)
def test_a_bad_chat_names_its_field(changes: dict[str, Any], field: str) -> None:
    """Wrong types and values are refused before anybody is asked."""
    with pytest.raises(InvalidField) as raised:
        chat(changes)

    assert raised.value.field == field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b"\xff\xfe", "body"),
        (b'{"model":"m"}', "prompt"),
        (b'{"prompt":"p"}', "model"),
        (b'{"model":"m","prompt":"\xff"}', "prompt"),
        (b'{"model":"m","prompt":"a","max_tokens":NaN}', "body"),
        (b'{"model":"m","prompt":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "body"),
    ],
    ids=lambda value: str(value[:30]),
)
def test_broken_json_is_refused(body: bytes, field: str) -> None:
    """Whatever the bytes are, the answer is InvalidField."""
    with pytest.raises(InvalidField) as raised:
        parse_completion(body, {}, "r")

    assert raised.value.field == field


@pytest.mark.parametrize("value", ["-1", "0", "nan", "inf", "", "fast", "1e999"])
@pytest.mark.parametrize("name", ["x-slo-ttft-ms", "x-slo-tpot-ms"])
def test_a_bad_slo_names_its_header(name: str, value: str) -> None:
    """A target is a finite number above 0."""
    with pytest.raises(InvalidField) as raised:
        completion({}, {name: value})

    assert raised.value.field == name


@pytest.mark.parametrize("value", ["", "x" * 129, "na\xe9", "a\tb"])
@pytest.mark.parametrize("name", ["x-farsight-profile", "x-session-id"])
def test_a_bad_name_names_its_header(name: str, value: str) -> None:
    """1 to 128 printable ASCII characters, or no header."""
    with pytest.raises(InvalidField) as raised:
        completion({}, {name: value})

    assert raised.value.field == name


def test_request_ids_are_kept_or_made() -> None:
    """A given id is used; without one each request gets its own; a bad one is refused."""
    assert request_id_of({"x-request-id": "abc"}) == "abc"
    assert request_id_of({}) != request_id_of({})
    with pytest.raises(InvalidField):
        request_id_of({"x-request-id": "x" * 129})
