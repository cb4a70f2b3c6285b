"""Completions and chats over HTTP, whole and streamed."""

import asyncio
import contextlib
import json
import math

import aiohttp
import pytest

from services.gateway.sse import SseReader
from services.gateway.usage import Usage, usage_of
from sim.emulator.tokenizer import Tokenizer
from tests.sim.emulator.running import (
    MODEL,
    SPEC,
    cached_tokens,
    prompt_of,
    serving,
    slow,
)
from tests.waiting import eventually

CHAT = [{"role": "user", "content": "How are you?"}]


async def test_a_completion_has_text_reason_and_usage(tokenizer: Tokenizer) -> None:
    """Under the served name, with an id of its kind."""
    async with serving(tokenizer) as (_, client):
        answer = await client.complete("hello there", 5, model=MODEL)

    choice = answer["choices"][0]
    assert answer["id"].startswith("cmpl-")
    assert (answer["object"], answer["model"]) == ("text_completion", MODEL)
    assert choice["finish_reason"] == "length"
    assert len(choice["text"].split()) == 5
    prompt = (await tokenizer.ids("hello there")).size
    assert answer["usage"] == {
        "prompt_tokens": prompt,
        "total_tokens": prompt + 5,
        "completion_tokens": 5,
        "prompt_tokens_details": {
            "cached_tokens": 0,
            "created_cache_tokens": None,
            "multimodal_tokens": None,
        },
        "completion_tokens_details": None,
    }


async def test_a_chat_has_a_message(tokenizer: Tokenizer) -> None:
    """From the assistant."""
    async with serving(tokenizer) as (_, client):
        body = {"messages": CHAT, "max_tokens": 4, "ignore_eos": True}
        answer = await client.post("/v1/chat/completions", body)

    message = answer["choices"][0]["message"]
    assert answer["id"].startswith("chatcmpl-")
    assert answer["object"] == "chat.completion"
    assert (message["role"], len(message["content"].split())) == ("assistant", 4)
    assert answer["usage"]["completion_tokens"] == 4


async def test_a_stream_brings_token_by_token_and_then_usage(tokenizer: Tokenizer) -> None:
    """The same text as in one piece; the last token tells why it ends."""
    async with serving(tokenizer, slow(0.01)) as (_, client):
        body = {"prompt": "hello there", "max_tokens": 5, "ignore_eos": True}
        whole = await client.complete("hello there", 5)
        *chunks, last = await client.stream(
            "/v1/completions", {**body, "stream_options": {"include_usage": True}}
        )

    choices = [chunk["choices"][0] for chunk in chunks]
    assert "".join(choice["text"] for choice in choices) == whole["choices"][0]["text"]
    assert len(choices) > 1
    assert [c["finish_reason"] for c in choices] == [None] * (len(choices) - 1) + ["length"]
    assert last["choices"] == []
    assert usage_of(json.dumps(last).encode()) == Usage(5, 5, 0)
    assert len({chunk["id"] for chunk in [*chunks, last]}) == 1


async def test_a_chat_stream_begins_with_the_role(tokenizer: Tokenizer) -> None:
    """Without usage unless it is asked for."""
    async with serving(tokenizer) as (_, client):
        body = {"messages": CHAT, "max_completion_tokens": 3, "ignore_eos": True}
        first, *others = await client.stream("/v1/chat/completions", body)

    assert first["object"] == "chat.completion.chunk"
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all(set(chunk["choices"][0]["delta"]) == {"content"} for chunk in others)
    assert others[-1]["choices"][0]["finish_reason"] == "length"
    assert not any("usage" in chunk for chunk in [first, *others])


async def test_the_gateway_reads_the_stream(tokenizer: Tokenizer) -> None:
    """First token and usage are found where vLLM has them."""
    async with serving(tokenizer) as (_, client):
        body = {
            "messages": CHAT,
            "max_tokens": 3,
            "stream": True,
            "stream_options": {"include_usage": True},
            "ignore_eos": True,
        }
        reader = SseReader(hide_usage=True)
        async with client.http.post(f"{client.url}/v1/chat/completions", json=body) as response:
            passed = reader.feed(await response.read())

    assert reader.has_token
    assert reader.usage is not None
    assert (reader.usage.output_tokens, reader.usage.cached_tokens) == (3, 0)
    assert b'"usage"' not in passed


async def test_token_ids_come_when_they_are_asked_for(tokenizer: Tokenizer) -> None:
    """Of prompt and answer, in one piece and in a stream, with counts in every chunk."""
    prompt = prompt_of(1, 10)
    fields = {"prompt": prompt, "max_tokens": 4, "ignore_eos": True, "return_token_ids": True}
    options = {"include_usage": True, "continuous_usage_stats": True}
    async with serving(tokenizer, slow(0.01)) as (_, client):
        whole = (await client.post("/v1/completions", fields))["choices"][0]
        *chunks, _ = await client.stream("/v1/completions", {**fields, "stream_options": options})

    assert whole["prompt_token_ids"] == prompt
    assert [
        chunks[0]["choices"][0]["prompt_token_ids"],
        chunks[-1]["choices"][0]["prompt_token_ids"],
    ] == [prompt, None]
    assert [i for c in chunks for i in c["choices"][0]["token_ids"]] == whole["token_ids"]
    assert tokenizer.stream().feed(whole["token_ids"]) == whole["text"]
    assert chunks[-1]["usage"] == {"prompt_tokens": 10, "total_tokens": 14, "completion_tokens": 4}


async def test_the_second_time_the_prompt_is_cached(tokenizer: Tokenizer) -> None:
    """Whole blocks, but never the last token; a shared beginning counts as well."""
    async with serving(tokenizer) as (_, client):
        prompt = prompt_of(1, 100)
        seen = [cached_tokens(await client.complete(prompt, 2)) for _ in range(2)]
        half = cached_tokens(await client.complete(prompt[:40] + prompt_of(2, 60), 2))
        exact = cached_tokens(await client.complete(prompt[:64], 2))

    assert seen == [0, 96]
    assert (half, exact) == (32, 32)


async def test_a_chat_goes_on_in_the_cache(tokenizer: Tokenizer) -> None:
    """The answer's text makes the answer's tokens in the next prompt."""
    system = {"role": "system", "content": "word " * 60}
    async with serving(tokenizer) as (_, client):
        body = {"messages": [system, *CHAT], "max_tokens": 100, "ignore_eos": True}
        first = await client.post("/v1/chat/completions", body)
        said = first["choices"][0]["message"]
        again = {**body, "messages": [system, *CHAT, said, *CHAT], "max_tokens": 2}
        second = await client.post("/v1/chat/completions", again)

    assert cached_tokens(second) // 32 == (first["usage"]["total_tokens"] - 1) // 32


async def test_adapters_and_salts_share_no_blocks(tokenizer: Tokenizer) -> None:
    """The same prompt under another name or salt is computed again."""
    prompt = prompt_of(1, 100)
    async with serving(tokenizer, loras=("ad", "other")) as (_, client):
        variants = [{}, {"model": "ad"}, {"model": "other"}, {"cache_salt": "s"}]
        first = [await client.complete(prompt, 1, **fields) for fields in variants]
        again = [await client.complete(prompt, 1, **fields) for fields in variants]

    assert [cached_tokens(answer) for answer in first] == [0] * 4
    assert [cached_tokens(answer) for answer in again] == [96] * 4
    assert [answer["model"] for answer in again] == [MODEL, "ad", "other", MODEL]


async def test_a_client_may_name_its_request(tokenizer: Tokenizer) -> None:
    """The answer carries that name."""
    async with (
        serving(tokenizer) as (_, client),
        client.http.post(
            f"{client.url}/v1/completions",
            json={"prompt": [5], "max_tokens": 1},
            headers={"x-request-id": "mine"},
        ) as response,
    ):
        answer = await response.json()

    assert answer["id"] == "cmpl-mine"


async def test_an_answer_may_end_by_itself(tokenizer: Tokenizer) -> None:
    """With the end token, which has no text."""
    async with serving(tokenizer, output_tokens=2, seed=3) as (_, client):
        answers = [
            await client.post(
                "/v1/completions",
                {"prompt": prompt_of(i, 5), "max_tokens": 50, "return_token_ids": True},
            )
            for i in range(10)
        ]

    choices = [answer["choices"][0] for answer in answers]
    assert {choice["finish_reason"] for choice in choices} == {"stop"}
    assert all(choice["token_ids"][-1] == tokenizer.eos_id for choice in choices)
    assert all(len(c["text"].split()) == len(c["token_ids"]) - 1 for c in choices)


async def test_an_answer_ends_at_the_longest_sequence(tokenizer: Tokenizer) -> None:
    """A chat without a limit gets what is left."""
    async with serving(tokenizer, max_model_tokens=64) as (_, client):
        answer = await client.post("/v1/chat/completions", {"messages": CHAT, "ignore_eos": True})

    assert answer["usage"]["total_tokens"] == 64


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (404, "NotFoundError", {"model": "x", "prompt": "a"}),
        (400, "BadRequestError", {"prompt": prompt_of(1, 641)}),
        (400, "BadRequestError", {"prompt": [4096]}),
        (400, "Bad Request", b"{bad"),
        (400, "Bad Request", {"prompt": {}}),
    ],
)
async def test_errors_have_vllms_form(
    tokenizer: Tokenizer, status: int, kind: str, body: object
) -> None:
    """Unknown model, too long, outside the vocabulary, no JSON, another shape."""
    async with serving(tokenizer) as (_, client):
        found, error = await client.refused("/v1/completions", body)

    assert (found, error["code"], error["type"]) == (status, status, kind)
    assert set(error) == {"message", "type", "param", "code"}


async def test_other_content_types_and_paths_are_refused(tokenizer: Tokenizer) -> None:
    """With the errors of vLLM's web framework."""
    async with serving(tokenizer) as (_, client):
        async with client.http.post(f"{client.url}/v1/completions", data=b"{}") as response:
            assert response.status == 400
        async with client.http.get(f"{client.url}/nope") as response:
            assert (response.status, await response.json()) == (404, {"detail": "Not Found"})
        async with client.http.get(f"{client.url}/v1/completions") as response:
            assert response.status == 405


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_aborts_its_request(tokenizer: Tokenizer, stream: bool) -> None:
    """Its blocks are free at once, and the counter says so."""
    async with serving(tokenizer, slow(0.02)) as (emulator, client):
        pod = emulator.pods[0]
        body = {"prompt": prompt_of(1, 100), "max_tokens": 500, "ignore_eos": True}
        timeout = aiohttp.ClientTimeout(total=0.2)
        with contextlib.suppress(TimeoutError):
            async with client.http.post(
                f"{client.url}/v1/completions", json={**body, "stream": stream}, timeout=timeout
            ) as response:
                await response.read()
        await eventually(lambda: not emulator.driver.runs)

        gauges = emulator.driver.gauges(0)
        assert (gauges.running, gauges.waiting, gauges.kv_usage_ratio) == (0, 0, 0.0)
        assert pod.stats.finished == {"abort": 1}


async def test_many_requests_share_the_batch(tokenizer: Tokenizer) -> None:
    """More than run at once: the others wait their turn, and all are answered in full."""
    async with serving(tokenizer) as (_, client):
        answers = await asyncio.gather(
            *(client.complete(prompt_of(i, 40), 20 + i % 3) for i in range(30))
        )

    assert [a["usage"]["completion_tokens"] for a in answers] == [20 + i % 3 for i in range(30)]
    assert math.prod(len(a["choices"][0]["text"]) for a in answers) > 0
    assert SPEC.max_sequences < 30


async def test_time_can_run_faster(tokenizer: Tokenizer) -> None:
    """A hundred steps of a second each take far less."""
    async with serving(tokenizer, slow(1.0), speed=1000.0) as (emulator, client):
        await client.complete(prompt_of(1, 10), 100)

        assert emulator.driver.now_s >= 100
