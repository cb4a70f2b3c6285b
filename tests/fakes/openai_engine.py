"""An engine's OpenAI API on a real socket: answers the same few tokens, or fails as it is told."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

Failure = Literal[
    "none",
    "status-500",
    "status-400",
    "before-first-byte",
    "after-head",
    "error-event",
    "mid-stream",
    "mid-stream-error",
    "hang",
    "hang-mid-stream",
]

TOKENS = ("Hello", ",", " world")
USAGE = {
    "prompt_tokens": 48,
    "completion_tokens": len(TOKENS),
    "total_tokens": 48 + len(TOKENS),
    "prompt_tokens_details": {"cached_tokens": 16},
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(slots=True)
class FakeEngine:
    """Serves both completion APIs; `failure` may be changed while it runs."""

    failure: Failure = "none"
    token_gap_s: float = 0.0
    seen: list[Seen] = field(default_factory=list)
    disconnects: int = 0
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        body = json.loads(await request.read())
        self.seen.append(Seen(request.path, dict(request.headers), body))
        try:
            match self.failure:
                case "status-500":
                    return web.json_response({"error": {"message": "boom"}}, status=500)
                case "status-400":
                    return web.json_response({"error": {"message": "no"}}, status=400)
                case "before-first-byte":
                    return _hang_up(request, web.Response())
                case "hang":
                    await asyncio.sleep(60)
            if body.get("stream"):
                return await self._stream(request, body)
            await asyncio.sleep(self.token_gap_s)
            return web.json_response({"choices": [{"text": "".join(TOKENS)}], "usage": USAGE})
        except (asyncio.CancelledError, ConnectionError):
            self.disconnects += 1
            raise

    async def _stream(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if self.failure == "after-head":
            return _hang_up(request, response)
        if self.failure == "error-event":
            await response.write(_event({"error": {"message": "engine died", "code": 500}}))
            return response
        chat = "chat" in request.path
        if chat:
            await response.write(_event(_chunk({"delta": {"role": "assistant", "content": ""}})))
        for position, text in enumerate(TOKENS):
            await asyncio.sleep(self.token_gap_s)
            if position == 1 and self.failure == "mid-stream":
                return _hang_up(request, response)
            if position == 1 and self.failure == "mid-stream-error":
                await response.write(_event({"error": {"message": "engine died", "code": 500}}))
                return response
            if position == 1 and self.failure == "hang-mid-stream":
                await asyncio.sleep(60)
            await response.write(
                _event(_chunk({"delta": {"content": text}} if chat else {"text": text}))
            )
        if (body.get("stream_options") or {}).get("include_usage"):
            await response.write(_event({"id": "x", "choices": [], "usage": USAGE}))
        await response.write(b"data: [DONE]\n\n")
        return response


def _hang_up(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return response


def _chunk(choice: dict[str, Any]) -> dict[str, Any]:
    return {"id": "x", "choices": [{"index": 0, **choice}]}


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n"


@asynccontextmanager
async def serving() -> AsyncIterator[FakeEngine]:
    """A running FakeEngine on a free port."""
    engine = FakeEngine()
    app = web.Application(client_max_size=32 << 20)
    app.add_routes(
        [
            web.post("/v1/completions", engine.answer),
            web.post("/v1/chat/completions", engine.answer),
        ]
    )
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    engine.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield engine
    finally:
        await runner.cleanup()
