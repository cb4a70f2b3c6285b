"""Route calls and answers in protobuf."""

import json

import numpy as np
import pytest

from farsight.errors import InvalidField
from farsight.pb.router_pb2 import Chat as ChatMessage
from farsight.pb.router_pb2 import MultimodalItem, RouteRequest
from services.router.chat import Chat
from services.router.wire import MAX_EXCLUDED, decode_call

LIMIT = 1000
MESSAGES = json.dumps([{"role": "user", "content": "hi"}])


def request(**fields: object) -> RouteRequest:
    """A valid request but for the fields."""
    valid: dict[str, object] = {"model": "m", "text": "hello"}
    if {"token_ids", "chat"} & fields.keys():
        del valid["text"]
    return RouteRequest(**(valid | fields))  # type: ignore[arg-type] # fields by name


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"model": ""}, "model: "),
        ({"model": "m" * 513}, "model: expected at most 512"),
        ({"request_id": "r" * 129}, "request_id: expected at most 128"),
        ({"cache_salt": "s" * 513}, "cache_salt: "),
        ({"profile": "p" * 129}, "profile: "),
        ({"session_id": "s" * 129}, "session_id: expected at most 128"),
        ({"max_output_tokens": (1 << 24) + 1}, "max_output_tokens: "),
        ({"exclude_endpoint_ids": ["e"] * (MAX_EXCLUDED + 1)}, "exclude_endpoint_ids: "),
        ({"slo_ttft_ms": 0.0}, "slo_ttft_ms: expected milliseconds > 0, not 0"),
        ({"slo_ttft_ms": -1.0}, "slo_ttft_ms: "),
        ({"slo_ttft_ms": float("nan")}, "slo_ttft_ms: .*not nan"),
        ({"slo_tpot_ms": float("inf")}, "slo_tpot_ms: .*not inf"),
        ({"slo_tpot_ms": float("-inf")}, "slo_tpot_ms: "),
        ({"text": ""}, "text: expected at least one character"),
        ({"text": "x" * (LIMIT + 1)}, "text: expected at most 1000 bytes, not 1001"),
        ({"text": "é" * 501}, "text: expected at most 1000 bytes, not 1002"),
        ({"token_ids": b"123"}, "token_ids: expected 4 bytes an id"),
        ({"token_ids": b"1234" * 251}, "token_ids: expected at most 1000 bytes"),
        ({"chat": ChatMessage()}, "chat.messages_json: expected JSON"),
        ({"chat": ChatMessage(messages_json="x" * 1001)}, "chat: expected at most 1000 bytes"),
        ({"chat": ChatMessage(messages_json=MESSAGES, tools_json="{")}, "chat.tools_json"),
        (
            {"chat": ChatMessage(messages_json=MESSAGES, chat_template_kwargs_json="7")},
            "chat.chat_template_kwargs_json",
        ),
    ],
)
def test_a_bad_field_is_named(fields: dict[str, object], named: str) -> None:
    """Bounds are checked before anything is parsed."""
    with pytest.raises(InvalidField, match=named):
        decode_call(request(**fields), LIMIT)


def test_a_request_without_a_prompt_is_refused() -> None:
    """One of three is needed."""
    with pytest.raises(InvalidField, match="prompt: expected token_ids, text or chat"):
        decode_call(RouteRequest(model="m"), LIMIT)


def test_token_ids_become_an_array_without_a_copy_into_lists() -> None:
    """uint32 little-endian."""
    call = decode_call(request(token_ids=b"\x01\0\0\0\xff\xff\xff\xff"), LIMIT)

    assert isinstance(call.prompt, np.ndarray)
    assert call.prompt.tolist() == [1, 2**32 - 1]


def items(*made: tuple[str, int]) -> dict[str, object]:
    """Four token ids with multimodal items."""
    multimodal = [MultimodalItem(identifier=i, offset_tokens=at) for i, at in made]
    return {"token_ids": bytes(16), "multimodal": multimodal}


def test_multimodal_items_are_taken_with_token_ids() -> None:
    """Identifier and offset, by rising offset."""
    call = decode_call(request(**items(("a", 0), ("b", 3))), LIMIT)

    assert call.multimodal == (("a", 0), ("b", 3))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        (items(("a", 4)), "multimodal.offset_tokens: expected rising and below 4 .*not 4"),
        (items(("a", 2), ("b", 1)), "multimodal.offset_tokens: "),
        (items(("a", 2), ("b", 2)), "multimodal.offset_tokens: "),
        (items(("", 0)), "multimodal.identifier: "),
        (items(("a" * 513, 0)), "multimodal.identifier: expected at most 512"),
        (items(*[("a", 0)] * 1025), "multimodal: expected at most 1024 items"),
        ({"text": "x", "multimodal": items(("a", 0))["multimodal"]}, "multimodal: .*token_ids"),
    ],
    ids=["behind the end", "falling", "twice", "no name", "long name", "too many", "text"],
)
def test_multimodal_items_that_cannot_be_placed_are_refused(
    fields: dict[str, object], named: str
) -> None:
    """Only token ids have placeholders, one place each."""
    with pytest.raises(InvalidField, match=named):
        decode_call(request(**fields), LIMIT)


def test_a_chat_is_parsed() -> None:
    """Flags are turned the way templates have them."""
    chat = ChatMessage(messages_json=MESSAGES, no_generation_prompt=True)

    call = decode_call(request(chat=chat), LIMIT)

    assert isinstance(call.prompt, Chat)
    assert not call.prompt.add_generation_prompt


def test_absent_targets_are_absent() -> None:
    """And given ones are floats; everything else arrives as it was sent."""
    bare = decode_call(request(), LIMIT)
    full = decode_call(
        request(
            request_id="r", slo_ttft_ms=200, slo_tpot_ms=0.5, priority=-3, max_output_tokens=9,
            cache_salt="s", profile="p", exclude_endpoint_ids=["a", "b"], session_id="u",
        ),
        LIMIT,
    )  # fmt: skip

    assert (bare.session_id, full.session_id) == ("", "u")
    assert (bare.slo_ttft_ms, bare.slo_tpot_ms, bare.exclude) == (None, None, frozenset())
    assert (full.request_id, full.model, full.prompt) == ("r", "m", "hello")
    assert (full.slo_ttft_ms, full.slo_tpot_ms) == (200, 0.5)
    assert (full.priority, full.max_output_tokens) == (-3, 9)
    assert (full.cache_salt, full.profile, full.exclude) == ("s", "p", frozenset("ab"))
