"""What a pod says about itself, read by those who read it of a vLLM pod."""

import asyncio

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.sidecar.engine import Engine
from services.sidecar.load import parse
from services.sidecar.registration import base_model, cache_config, lora_names
from services.sidecar.source import EventSource, find
from sim.emulator.tokenizer import Tokenizer
from tests.sim.emulator.listening import batch_of, listening
from tests.sim.emulator.running import (
    MODEL,
    Client,
    cached_tokens,
    prompt_of,
    serving,
    slow,
)
from tests.waiting import eventually

USER = {"role": "user", "content": "How are you?"}


async def samples(client: Client) -> dict[str, float]:
    """Values on the metrics page by name and the labels that tell them apart."""
    page = (await client.text("/metrics")).decode()
    return {
        "/".join(
            (s.name, *(v for k, v in s.labels.items() if k in ("source", "finished_reason")))
        ): s.value
        for family in text_string_to_metric_families(page)
        for s in family.samples
    }


async def test_the_sidecar_finds_out_who_it_is(tokenizer: Tokenizer) -> None:
    """Model, adapters, tokenizer, version and event sources."""
    async with serving(tokenizer, loras=("b", "a"), max_model_tokens=500) as (emulator, client):
        engine = Engine(client.http, client.url, 5)
        await engine.check_health()
        models = await engine.models()
        version = await engine.version()
        sources = await engine.kv_event_sources()
        publisher = emulator.pods[0].publisher

    assert base_model(models).id == MODEL
    assert base_model(models).root == tokenizer.source
    assert base_model(models).max_model_len == 500
    assert lora_names(models) == ("a", "b")
    assert [model.parent for model in models] == [None, MODEL, MODEL]
    assert version == "0.32.0"
    assert sources is not None
    assert find(sources, 0, client.url) == EventSource(
        f"tcp://127.0.0.1:{publisher.events_port}", f"tcp://127.0.0.1:{publisher.replay_port}"
    )
    assert find(sources, 1, client.url) is None


async def test_the_sidecar_reads_load_and_cache_size(tokenizer: Tokenizer) -> None:
    """Running and waiting requests, used blocks; one block more than can be filled."""
    async with serving(tokenizer, slow(0.05)) as (_, client):
        sending = [asyncio.create_task(client.complete(prompt_of(i, 60), 4)) for i in range(10)]
        page = b""
        while (scrape := parse(page, 0)) is None or scrape.load.running_requests < 8:
            page = await client.text("/metrics")
        assert await client.get("/load") == {"server_load": 10}
        await asyncio.gather(*sending)
        idle = parse(await client.text("/metrics"), 0)

    assert scrape.load.waiting_requests == 2
    assert scrape.load.kv_usage_ratio == pytest.approx(16 / 20)
    assert idle is not None
    assert (idle.load.running_requests, idle.load.kv_usage_ratio) == (0, 0.0)
    assert idle.process_start_unix_s == scrape.process_start_unix_s is not None
    assert cache_config(page, 0) == (32, 21)


async def test_counters_add_up(tokenizer: Tokenizer) -> None:
    """Tokens by source, requests by end, and the histograms beside them."""
    async with serving(tokenizer) as (_, client):
        for _ in range(2):
            await client.complete(prompt_of(1, 100), 5)
        page = await samples(client)

    vllm = {name.removeprefix("vllm:"): value for name, value in page.items()}
    assert (vllm["prefix_cache_queries_total"], vllm["prefix_cache_hits_total"]) == (200, 96)
    assert vllm["prompt_tokens_cached_by_source_total/device"] == 96
    assert vllm["prompt_tokens_cached_by_source_total/disk"] == 0
    assert (vllm["prompt_tokens_total"], vllm["generation_tokens_total"]) == (200, 10)
    assert vllm["request_success_total/length"] == 2
    assert vllm["num_preemptions_total"] == 0
    assert vllm["time_to_first_token_seconds_count"] == 2
    assert vllm["time_to_first_token_seconds_sum"] > 0
    assert vllm["inter_token_latency_seconds_count"] == 8
    assert vllm["e2e_request_latency_seconds_count"] == 2
    assert vllm["request_prompt_tokens_sum"] == 200
    assert vllm["request_generation_tokens_sum"] == 10


async def test_a_model_name_cannot_break_the_page(tokenizer: Tokenizer) -> None:
    """Quotes and backslashes are escaped."""
    name = 'a"b\\c'
    async with serving(tokenizer, model=name) as (_, client):
        page = (await client.text("/metrics")).decode()

    names = {
        s.labels["model_name"]
        for family in text_string_to_metric_families(page)
        for s in family.samples
        if "model_name" in s.labels
    }
    assert names == {name}


async def test_tokenize_and_detokenize(tokenizer: Tokenizer) -> None:
    """Ids of a text or a chat, and back."""
    async with serving(tokenizer) as (_, client):
        text = await client.post("/tokenize", {"prompt": "hello", "return_token_strs": True})
        chat = await client.post("/tokenize", {"model": MODEL, "messages": [USER]})
        back = await client.post("/detokenize", {"tokens": text["tokens"]})
        status, _ = await client.refused("/tokenize", {"model": "x", "prompt": "a"})

    assert text["count"] == len(text["tokens"]) == len(text["token_strs"])
    assert (text["token_strs"][0], text["max_model_len"]) == ("<s>", 640)
    assert chat["token_strs"] is None
    assert tokenizer.text(chat["tokens"]).endswith(
        "How are you?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert back == {"prompt": "<s>hello"}
    assert status == 404


async def test_resetting_the_cache_is_announced_with_the_next_step(tokenizer: Tokenizer) -> None:
    """And refused while requests hold blocks."""
    async with (
        serving(tokenizer, slow(0.01)) as (emulator, client),
        listening(emulator.pods[0].publisher) as (listener,),
    ):
        await client.complete(prompt_of(1, 64), 1)
        await listener.next()
        reset = await client.post("/reset_prefix_cache", {})
        again = await client.complete(prompt_of(1, 64), 1)
        _, frame = await listener.next()
        running = asyncio.create_task(client.complete(prompt_of(2, 64), 50))
        await eventually(lambda: emulator.driver.gauges(0).running > 0)
        refused = await client.post("/reset_prefix_cache", {})
        await running

    assert (reset, refused) == ({"success": True}, {"success": False})
    assert cached_tokens(again) == 0
    assert [event["type"] for event in batch_of(frame)[1]] == ["AllBlocksCleared", "BlockStored"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_ping_answers(tokenizer: Tokenizer, method: str) -> None:
    """To both methods."""
    async with (
        serving(tokenizer) as (_, client),
        client.http.request(method, f"{client.url}/ping") as response,
    ):
        assert response.status == 200


async def test_two_pods_of_a_process_are_two_engines(tokenizer: Tokenizer) -> None:
    """Own ports, own cache, own events, own page."""
    async with (
        serving(tokenizer, pods=2) as (emulator, first),
        listening(*(pod.publisher for pod in emulator.pods)) as listeners,
        aiohttp.ClientSession() as http,
    ):
        second = Client(http, emulator.pods[1].url)
        prompt = prompt_of(1, 64)
        there = [cached_tokens(await pod.complete(prompt, 1)) for pod in (first, second, first)]
        topics = [(await listener.next())[0] for listener in listeners]
        counted = [(await samples(pod))["vllm:prompt_tokens_total"] for pod in (first, second)]

    assert there == [0, 0, 32]
    assert topics == [b"kv@pod-0@tiny", b"kv@pod-1@tiny"]
    assert counted == [128, 64]
