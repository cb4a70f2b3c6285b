"""Emulated pods inside a test's event loop, and a client of one of them."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

from sim.emulator.emulator import Emulator, emulating
from sim.emulator.settings import EmulatorSettings
from sim.emulator.tokenizer import Tokenizer
from sim.engine.spec import EngineSpec, StepRates

MODEL = "tiny"
# Steps of about a millisecond; 20 blocks of 32 tokens.
SPEC = EngineSpec(
    StepRates(1e-3, 1e-6, 0.0, 1e-5, 0.0),
    kv_tokens=640,
    block_tokens=32,
    max_batched_tokens=2048,
    max_sequences=8,
)


def slow(step_s: float) -> EngineSpec:
    """The same engine with steps of that length."""
    return replace(SPEC, rates=StepRates(step_s, 0.0, 0.0, 0.0, 0.0))


@dataclass(frozen=True, slots=True)
class Client:
    """Talks to one pod."""

    http: aiohttp.ClientSession
    url: str

    async def get(self, path: str) -> Any:
        """JSON of a page."""
        async with self.http.get(self.url + path) as response:
            assert response.status == 200
            return await response.json()

    async def text(self, path: str) -> bytes:
        """Body of a page."""
        async with self.http.get(self.url + path) as response:
            assert response.status == 200
            return await response.read()

    async def post(self, path: str, body: Any) -> Any:
        """JSON of a successful answer."""
        async with self.http.post(self.url + path, json=body) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def refused(self, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        """Status and error of a refused request."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        async with self.http.post(self.url + path, data=data, headers=headers) as response:
            assert response.status >= 400
            return response.status, dict((await response.json())["error"])

    async def complete(self, prompt: Sequence[int] | str, tokens: int, **fields: Any) -> Any:
        """A whole completion of so many tokens."""
        body = {"prompt": prompt, "max_tokens": tokens, "ignore_eos": True, **fields}
        return await self.post("/v1/completions", body)

    async def stream(self, path: str, body: dict[str, Any]) -> list[Any]:
        """Documents of a stream, which has to end as it should."""
        async with self.http.post(self.url + path, json={**body, "stream": True}) as response:
            assert response.status == 200, await response.text()
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            events = (await response.read()).decode().split("\n\n")
        assert events[-2:] == ["data: [DONE]", ""]
        return [json.loads(event.removeprefix("data: ")) for event in events[:-2]]


@asynccontextmanager
async def serving(
    tokenizer: Tokenizer, spec: EngineSpec = SPEC, **fields: Any
) -> AsyncIterator[tuple[Emulator, Client]]:
    """Pods, and a client of the first."""
    settings = EmulatorSettings(spec, **{"model": MODEL, "drain_s": 1.0, **fields})
    async with (
        aiohttp.ClientSession() as http,
        emulating(settings, tokenizer) as emulator,
    ):
        yield emulator, Client(http, emulator.pods[0].url)


def cached_tokens(answer: Any) -> int:
    """What the pod says that it took from its cache."""
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])


def prompt_of(seed: int, tokens: int) -> list[int]:
    """Token ids that share nothing with those of another seed."""
    return [4 + (seed * 1009 + i) % 4000 for i in range(tokens)]
