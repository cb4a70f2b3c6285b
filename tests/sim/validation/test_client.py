"""The client of the pod, against a server of its own."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from sim.validation.client import PodClient, RequestFailed
from sim.validation.observe import converse
from sim.validation.workload import Turn


@dataclass(slots=True)
class Server:
    """Answers each prompt with numbers from its length on, `per_chunk` at a time."""

    per_chunk: int = 1
    short_by: int = 0
    status: int = 200
    bodies: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One completion as vLLM streams it."""
        body = json.loads(await request.read())
        self.bodies.append(body)
        if self.status != 200:
            return web.Response(status=self.status, text="no")
        response = web.StreamResponse()
        await response.prepare(request)
        count = body["max_tokens"] - self.short_by
        tokens = [len(body["prompt"]) + i for i in range(count)]
        for at in range(0, count, self.per_chunk):
            choice = {"index": 0, "text": "x", "token_ids": tokens[at : at + self.per_chunk]}
            await response.write(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")
        usage = {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 64}}
        await response.write(
            b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"
        )
        await response.write(b"data: [DONE]\n\n")
        return response


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[PodClient]:
    """A client of the server."""
    app = web.Application()
    app.router.add_post("/v1/completions", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with PodClient(f"http://{host}:{port}", "tiny") as client:
            yield client
    finally:
        await runner.cleanup()


async def test_every_token_has_its_time() -> None:
    """Two that came in one chunk have the same one."""
    server = Server(per_chunk=2)
    async with serving(server) as client:
        found = await client.send("prefill", [5, 6, 7], 3)

    assert found.output == [3, 4, 5]
    assert found.sent_s < found.token_s[0] == found.token_s[1] <= found.token_s[2]
    assert (found.label, found.prompt, found.cached_tokens) == ("prefill", [5, 6, 7], 64)


async def test_the_engine_is_asked_for_exactly_the_tokens() -> None:
    """Greedy, and past an end-of-text token."""
    server = Server()
    async with serving(server) as client:
        await client.send("", [5], 4)

    (body,) = server.bodies
    assert (body["prompt"], body["max_tokens"]) == ([5], 4)
    assert (body["temperature"], body["ignore_eos"], body["stream"]) == (0, True, True)


@pytest.mark.parametrize("server", [Server(status=500), Server(short_by=1)])
async def test_an_answer_that_is_not_whole_is_a_failure(server: Server) -> None:
    """A measurement never goes on without it."""
    async with serving(server) as client:
        with pytest.raises(RequestFailed):
            await client.send("mixed", [1, 2], 3)


async def test_a_follow_up_repeats_what_the_engine_answered() -> None:
    """It waits for it, however early its own time is."""
    turns = [Turn(0.02, [1, 2], 2, None), Turn(0.0, [9], 1, 0)]
    server = Server()
    async with serving(server) as client:
        found = await converse(client, turns)

    assert _prompts(server.bodies) == [[1, 2], [1, 2, 2, 3, 9]]
    assert [one.label for one in found] == ["turn 0", "turn 1"]


async def test_a_failed_turn_ends_the_workload() -> None:
    """With the failure itself, not a group of them."""
    async with serving(Server(status=503)) as client:
        with pytest.raises(RequestFailed, match="503"):
            await converse(client, [Turn(0.0, [1], 1, None), Turn(0.0, [2], 1, 0)])


def _prompts(bodies: Sequence[dict[str, Any]]) -> list[list[int]]:
    return [body["prompt"] for body in bodies]
