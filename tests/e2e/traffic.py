"""Clients that send requests through the gateway while something is killed."""

import asyncio
import json
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Any, Self

import aiohttp

CLIENTS = 3
PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Result:
    """One request as its client saw it."""

    failure: str
    """Empty when all went well."""
    began: bool
    """At least one token had come."""
    endpoint_id: str


@dataclass(slots=True)
class Traffic:
    """An async context manager: clients send until it ends."""

    url: str
    model: str
    seed: int = 1
    results: list[Result] = field(default_factory=list)
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._client(i)) for i in range(CLIENTS)]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    @property
    def failures(self) -> list[Result]:
        """Requests that failed."""
        return [result for result in self.results if result.failure]

    async def more(self, count: int) -> None:
        """Wait until `count` further requests have ended."""
        wanted = len(self.results) + count
        while len(self.results) < wanted:  # noqa: ASYNC110 # the clients fill it
            await asyncio.sleep(0.05)

    async def _client(self, number: int) -> None:
        random = Random(self.seed * 100 + number)
        timeout = aiohttp.ClientTimeout(total=120)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            while not self._stop.is_set():
                self.results.append(await self._send(http, random))
                await asyncio.sleep(PAUSE_S)

    async def _send(self, http: aiohttp.ClientSession, random: Random) -> Result:
        group = random.randrange(4)
        words = " ".join(f"word{(group * 31 + i) % 97}" for i in range(120))
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [
                {"role": "system", "content": words},
                {"role": "user", "content": f"question {random.randrange(1000)}"},
            ],
            "max_tokens": 16,
            "ignore_eos": True,
            "stream": random.random() < 0.7,
        }
        began, endpoint_id = False, ""
        try:
            async with http.post(f"{self.url}/v1/chat/completions", json=body) as response:
                endpoint_id = response.headers.get("x-farsight-endpoint", "")
                if response.status != 200:
                    text = await response.text()
                    return Result(f"{response.status} {text}", False, endpoint_id)
                if not body["stream"]:
                    await response.json()
                    return Result("", False, endpoint_id)
                done = False
                async for line in response.content:
                    began = began or line.startswith(b'data: {"id"')
                    done = done or line.startswith(b"data: [DONE]")
                    if line.startswith(b'data: {"error"'):
                        return Result(json.loads(line[6:])["error"], began, endpoint_id)
                return Result("" if done else "no [DONE]", began, endpoint_id)
        except (aiohttp.ClientError, TimeoutError) as error:
            return Result(repr(error), began, endpoint_id)
