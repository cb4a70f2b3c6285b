"""An emulated pod's KV events and cached tokens are those of a vLLM pod with the same requests."""

import asyncio
from typing import Any

import aiohttp
import msgspec
import numpy as np
import pytest
import zmq
import zmq.asyncio

from farsight.local.engine import SERVED_MODEL, EngineSpec
from farsight.local.fleet import Fleet

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="session"),
]

REQUESTS = 60
SETTLE_S = 0.5


def prompts() -> list[list[int]]:
    """Beginnings that are shared, repeated and evicted: a pod holds 119 blocks of 32 tokens."""
    rng = np.random.default_rng(7)
    made = []
    for _ in range(REQUESTS):
        begin, own = int(rng.integers(6)), int(rng.integers(20))
        shared = 4 + (np.arange(rng.integers(100, 900)) * 7 + begin * 501) % 4000
        further = 4 + (np.arange(rng.integers(1, 400)) * 11 + own * 307) % 4000
        made.append([*shared.tolist(), *further.tolist()])
    return made


async def complete(http: aiohttp.ClientSession, engine: EngineSpec, prompt: list[int]) -> int:
    """Cached tokens of one request with one token of output, which no block of the cache has."""
    body = {"model": SERVED_MODEL, "prompt": prompt, "max_tokens": 1}
    async with http.post(f"{engine.url}/v1/completions", json=body) as response:
        assert response.status == 200, await response.text()
        answer = await response.json()
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])


async def observed(engine: EngineSpec) -> tuple[list[int], list[list[dict[str, Any]]]]:
    """Cached tokens of all requests, one after the other, and the batches that were published."""
    with zmq.asyncio.Context() as context, context.socket(zmq.SUB) as events:
        events.set(zmq.LINGER, 0)
        events.set(zmq.SUBSCRIBE, b"")
        events.connect(f"tcp://127.0.0.1:{engine.events_port}")
        async with aiohttp.ClientSession() as http:
            async with http.post(f"{engine.url}/reset_prefix_cache") as response:
                assert await response.json() == {"success": True}
            # Its step announces the reset, and the subscription is there before the next.
            await complete(http, engine, [5])
            await asyncio.sleep(SETTLE_S)
            while await events.poll(0):
                await events.recv_multipart()
            cached = [await complete(http, engine, prompt) for prompt in prompts()]
            await asyncio.sleep(SETTLE_S)
        batches = []
        while await events.poll(0):
            _, _, body = await events.recv_multipart()
            batches.append(msgspec.msgpack.decode(body)[1])
    return cached, batches


def numbered(batches: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """The same with blocks by the order in which they came first, instead of by their hashes."""
    numbers: dict[int, int] = {}

    def number(block: int) -> int:
        return numbers.setdefault(block, len(numbers))

    made = []
    for batch in batches:
        events = []
        for event in batch:
            told = {**event, "block_hashes": [number(block) for block in event["block_hashes"]]}
            if event.get("parent_block_hash") is not None:
                told["parent_block_hash"] = number(event["parent_block_hash"])
            events.append(told)
        made.append(events)
    return made


async def test_emulated_pods_tell_what_vllm_pods_tell(
    vllm_fleet: Fleet, emulated_fleet: Fleet
) -> None:
    """Event by event, with hits, evictions and blocks that are there twice."""
    real_cached, real = await observed(vllm_fleet.engines[1])
    cached, told = await observed(emulated_fleet.engines[1])

    assert cached == real_cached
    assert numbered(told) == numbered(real)
    kinds = [event["type"] for batch in real for event in batch]
    assert kinds.count("BlockRemoved") > 100
    assert sum(tokens > 0 for tokens in cached) > 10
