"""Two ways to send a chat: through the gateway, and with the Route API and the pod itself."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from farsight.client import RouterClient
from farsight.pb.router_pb2 import Chat, Finished, FirstToken, ReportEvent, RouteRequest

TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Sent:
    """One request, as its client saw it; times are of `time.monotonic`."""

    session: str
    endpoint_id: str
    text: str
    failed: str
    started_s: float
    ended_s: float
    ttft_ms: float
    prompt_tokens: int
    cached_tokens: int
    cached_tokens_predicted: int


class Sender(Protocol):
    """Sends one chat request with a scheduling profile."""

    async def send(self, session: str, body: dict[str, Any], profile: str) -> Sent:
        """Never raises on a failed request: `failed` says why."""
        ...


@dataclass(slots=True)
class _Answer:
    """A streamed completion while it comes in."""

    started_s: float
    first_s: float = 0.0
    text: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    async def read(self, response: aiohttp.ClientResponse) -> None:
        """Take every event; raises ClientError when the stream breaks off."""
        async for event in _events(response):
            if usage := event.get("usage"):
                self.prompt_tokens = usage["prompt_tokens"]
                self.output_tokens = usage["completion_tokens"]
                details = usage.get("prompt_tokens_details") or {}
                self.cached_tokens = details.get("cached_tokens") or 0
            for choice in event.get("choices", []):
                piece = choice.get("delta", {}).get("content")
                if piece:
                    self.first_s = self.first_s or time.monotonic()
                    self.text += piece

    @property
    def ttft_ms(self) -> float:
        """Dispatch to first token; 0 when none came."""
        return max(0.0, self.first_s - self.started_s) * 1000 if self.first_s else 0.0


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    finished = False
    async for line in response.content:
        if not line.startswith(b"data: "):
            continue
        if line.startswith(b"data: [DONE]"):
            finished = True
            break
        yield json.loads(line[6:])
    if not finished:
        raise aiohttp.ClientPayloadError("the stream ended without [DONE]")


def _sent(
    session: str, endpoint_id: str, answer: _Answer, failed: str, cached_tokens_predicted: int
) -> Sent:
    return Sent(
        session,
        endpoint_id,
        answer.text,
        failed,
        answer.started_s,
        time.monotonic(),
        answer.ttft_ms,
        answer.prompt_tokens,
        answer.cached_tokens,
        cached_tokens_predicted,
    )


class GatewaySender:
    """OpenAI HTTP, as any client would."""

    def __init__(self, http: aiohttp.ClientSession, url: str, model: str) -> None:
        self._http = http
        self._url = f"{url}/v1/chat/completions"
        self._model = model

    async def send(self, session: str, body: dict[str, Any], profile: str) -> Sent:
        """One request through the gateway."""
        answer = _Answer(time.monotonic())
        endpoint_id, failed, predicted = "", "", 0
        request = body | {"model": self._model, "stream_options": {"include_usage": True}}
        try:
            async with self._http.post(
                self._url, json=request, headers={"x-farsight-profile": profile}
            ) as response:
                endpoint_id = response.headers.get("x-farsight-endpoint", "")
                predicted = int(response.headers.get("x-farsight-cached-tokens", "0"))
                if response.status != 200:
                    failed = f"{response.status} {await response.text()}"
                else:
                    await answer.read(response)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            failed = repr(error)
        return _sent(session, endpoint_id, answer, failed, predicted)


class RouteApiSender:
    """gRPC Route, then straight to the pod, with reports back to the router."""

    def __init__(self, http: aiohttp.ClientSession, routers: RouterClient, model: str) -> None:
        self._http = http
        self._routers = routers
        self._model = model

    async def send(self, session: str, body: dict[str, Any], profile: str) -> Sent:
        """One request through the Route API."""
        decision = await self._routers.route(
            RouteRequest(
                model=self._model,
                chat=Chat(messages_json=json.dumps(body["messages"])),
                max_output_tokens=body["max_tokens"],
                profile=profile,
            ),
            TIMEOUT_S,
        )
        reply = decision.reply
        endpoint = reply.endpoint
        answer = _Answer(time.monotonic())
        failed = ""
        request = body | {"model": self._model, "stream_options": {"include_usage": True}}
        try:
            async with self._http.post(
                f"{endpoint.url}/v1/chat/completions", json=request
            ) as response:
                response.raise_for_status()
                await answer.read(response)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            failed = repr(error)
        for event in _reports(reply.decision_id, endpoint.endpoint_id, answer, failed):
            self._routers.report(decision, event)
        return _sent(session, endpoint.endpoint_id, answer, failed, reply.cached_tokens)


def _reports(decision_id: str, endpoint_id: str, answer: _Answer, failed: str) -> list[ReportEvent]:
    e2e_ms = (time.monotonic() - answer.started_s) * 1000
    decode_ms = e2e_ms - answer.ttft_ms
    end = Finished(
        status=Finished.STATUS_FAILED if failed else Finished.STATUS_COMPLETED,
        ttft_ms=answer.ttft_ms,
        tpot_ms=decode_ms / (answer.output_tokens - 1) if answer.output_tokens > 1 else 0.0,
        e2e_ms=e2e_ms,
        prompt_tokens=answer.prompt_tokens,
        output_tokens=answer.output_tokens,
        cached_tokens=answer.cached_tokens,
    )
    first = FirstToken(ttft_ms=answer.ttft_ms)
    return [
        ReportEvent(decision_id=decision_id, endpoint_id=endpoint_id, first_token=first),
        ReportEvent(decision_id=decision_id, endpoint_id=endpoint_id, finished=end),
    ]
