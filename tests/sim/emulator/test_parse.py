"""Request bodies are checked as vLLM checks them."""

import json
from typing import Any

import numpy as np
import pytest

from services.router.chat import Chat
from sim.emulator.errors import Refused
from sim.emulator.parse import parse_chat_completion, parse_completion, parse_tokenize, room_for

USER = {"role": "user", "content": "hi"}


def body(**fields: Any) -> bytes:
    """A JSON body."""
    return json.dumps(fields).encode()


@pytest.mark.parametrize("prompt", [[5, 6], [[5, 6]]])
def test_token_ids_may_stand_in_a_list_of_one(prompt: Any) -> None:
    """Both forms of one prompt."""
    ask = parse_completion(body(prompt=prompt))

    assert isinstance(ask.prompt, np.ndarray)
    assert ask.prompt.tolist() == [5, 6]
    assert (ask.max_tokens, ask.ignore_eos, ask.stream) == (16, False, False)


@pytest.mark.parametrize("prompt", ["text", ["text"]])
def test_text_may_stand_in_a_list_of_one(prompt: Any) -> None:
    """Both forms of one prompt."""
    assert parse_completion(body(prompt=prompt)).prompt == "text"


def test_a_chat_has_no_limit_of_its_own() -> None:
    """The newer name of the limit wins."""
    unlimited = parse_chat_completion(body(messages=[USER]))
    limited = parse_chat_completion(body(messages=[USER], max_tokens=3, max_completion_tokens=4))

    assert isinstance(unlimited.prompt, Chat)
    assert (unlimited.max_tokens, limited.max_tokens) == (None, 4)


def test_usage_is_asked_for_in_stream_options() -> None:
    """At the end, or in every chunk."""
    options = {"include_usage": True, "continuous_usage_stats": True}
    ask = parse_completion(body(prompt="a", stream=True, stream_options=options))

    assert (ask.include_usage, ask.usage_in_every_chunk) == (True, True)


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("prompt", {}),
        ("prompt", {"prompt": ""}),
        (None, {"prompt": []}),
        ("prompt", {"prompt": ["a", "b"]}),
        ("body.prompt", {"prompt": 5}),
        ("body.prompt", {"prompt": [-5]}),
        ("body.prompt", {"prompt": [1.5]}),
        ("body.prompt", {"prompt": [2**32]}),
        ("body.prompt", {"prompt": [5, "a"]}),
        ("body.prompt", {"prompt": [5, [6]]}),
        ("max_tokens", {"prompt": "a", "max_tokens": 0}),
        ("max_tokens", {"prompt": "a", "max_tokens": -1}),
        ("body.max_tokens", {"prompt": "a", "max_tokens": "x"}),
        ("stream_options", {"prompt": "a", "stream_options": {"include_usage": True}}),
        ("n", {"prompt": "a", "n": 2}),
        ("echo", {"prompt": "a", "echo": True}),
        ("logprobs", {"prompt": "a", "logprobs": 1}),
    ],
)
def test_bad_completions_name_the_parameter(param: str | None, fields: dict[str, Any]) -> None:
    """Status 400, in vLLM's form."""
    with pytest.raises(Refused) as error:
        parse_completion(body(**fields))

    document = json.loads(error.value.body())["error"]
    assert (document["param"], document["code"]) == (param, 400)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"messages": "x"},
        {"messages": []},
        {"messages": [{"content": "x"}]},
        {"messages": [USER], "continue_final_message": True, "add_generation_prompt": True},
        {"messages": [USER], "tools": 5},
        {"messages": [USER], "chat_template_kwargs": {"tokenize": True}},
    ],
)
def test_bad_chats_are_refused(fields: dict[str, Any]) -> None:
    """Messages, tools and template variables."""
    with pytest.raises(Refused):
        parse_chat_completion(body(**fields))


@pytest.mark.parametrize("data", [b"{bad", b"[1]", b'"x"', b"\xff", b""])
def test_bodies_that_are_no_objects_are_refused(data: bytes) -> None:
    """All APIs read JSON objects."""
    for parse in (parse_completion, parse_chat_completion, parse_tokenize):
        with pytest.raises(Refused):
            parse(data)


def test_tokenize_takes_a_text_or_a_chat() -> None:
    """One of them is needed."""
    chat = parse_tokenize(body(messages=[USER], return_token_strs=True))

    assert parse_tokenize(body(prompt="a", add_special_tokens=False)).add_special_tokens is False
    assert isinstance(chat.prompt, Chat)
    assert chat.with_strings
    with pytest.raises(Refused):
        parse_tokenize(body(model="tiny"))


@pytest.mark.parametrize(
    ("prompt_tokens", "max_tokens", "room"), [(10, None, 90), (10, 5, 5), (95, 50, 5), (99, 9, 1)]
)
def test_answers_end_at_the_longest_sequence(
    prompt_tokens: int, max_tokens: int | None, room: int
) -> None:
    """The limit of the request or of the model, whichever comes first."""
    ask = parse_chat_completion(body(messages=[USER], max_tokens=max_tokens))

    assert room_for(ask, np.zeros(prompt_tokens, np.uint32), 100) == room


@pytest.mark.parametrize(
    ("prompt_tokens", "param"), [(100, "max_tokens"), (101, "input_tokens"), (98, None), (0, None)]
)
def test_prompts_without_room_are_refused(prompt_tokens: int, param: str | None) -> None:
    """Too long, exactly full, with less room than the least answer, or empty."""
    ask = parse_chat_completion(body(messages=[USER], min_tokens=3))

    with pytest.raises(Refused) as error:
        room_for(ask, np.zeros(prompt_tokens, np.uint32), 100)

    assert json.loads(error.value.body())["error"]["param"] == param
