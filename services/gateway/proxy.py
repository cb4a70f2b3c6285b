"""The way of one request: route, try endpoints until one answers, relay, report."""

import asyncio
import time
from collections.abc import Mapping, Sequence

import aiohttp
from aiohttp import web

from farsight.client import Decision, RouterClient
from farsight.errors import NoEndpoint, UnknownModel
from farsight.log import get_logger
from farsight.pb.router_pb2 import RoutedEndpoint, RouteRequest
from farsight.replicas import ReplicasAway
from services.gateway import metrics
from services.gateway.engine import ask, forwarded, next_bytes, whole_body
from services.gateway.errors import EndpointsFailed, TryFailed, error_body
from services.gateway.fleet import Fleet
from services.gateway.parse import Call
from services.gateway.settings import GatewaySettings
from services.gateway.sse import SseReader
from services.gateway.trial import CANCELLED, COMPLETED, FAILED, Trial
from services.gateway.usage import usage_of

log = get_logger(__name__)


class Proxy:
    """Sends requests where a router says; the client sees nothing of a failed try."""

    def __init__(
        self,
        router: RouterClient,
        session: aiohttp.ClientSession,
        fleet: Fleet,
        settings: GatewaySettings,
    ) -> None:
        self._router = router
        self._session = session
        self._fleet = fleet
        self._settings = settings

    async def serve(self, http: web.Request, call: Call) -> web.StreamResponse:
        """Answer one request.

        :raises FarsightError: nothing has been sent to the client, and `response_of` says what to.
        """
        arrived_s = time.perf_counter()
        decision = await self._router.route(call.route, self._settings.route_timeout_s)
        tried: list[str] = []
        while True:
            left = _untried(decision, tried)[: self._settings.max_tries - len(tried)]
            for position, endpoint in enumerate(left):
                trial = Trial(self._router, decision, endpoint, arrived_s)
                try:
                    return await self._relay(http, call, trial)
                except TryFailed as failure:
                    tried.append(endpoint.endpoint_id)
                    following = left[position + 1].endpoint_id if left[position + 1 :] else ""
                    trial.endpoint_failed(str(failure), following)
                    _count(failure, endpoint)
            if not left or len(tried) >= self._settings.max_tries:
                raise EndpointsFailed(tried)
            decision = await self._route_again(call, tried)

    async def _route_again(self, call: Call, tried: Sequence[str]) -> Decision:
        request = RouteRequest()
        request.CopyFrom(call.route)
        request.exclude_endpoint_ids.extend(tried)
        try:
            return await self._router.route(request, self._settings.route_timeout_s)
        except (NoEndpoint, UnknownModel, ReplicasAway):
            raise EndpointsFailed(tried) from None

    async def _relay(self, http: web.Request, call: Call, trial: Trial) -> web.StreamResponse:
        """Send the request to one endpoint and its answer to the client.

        :raises TryFailed: the endpoint failed and the client has got nothing.
        """
        settings = self._settings
        silence_s = settings.stream_silence_s if call.stream else settings.response_timeout_s
        try:
            async with ask(
                self._session,
                trial.endpoint.url + http.path,
                call.body,
                self._engine_headers(http, call, trial.endpoint),
                settings.connect_timeout_s,
                silence_s,
            ) as answer:
                if call.stream and answer.status == 200:
                    return await self._stream(http, call, trial, answer)
                return await self._whole(trial, answer)
        except (asyncio.CancelledError, ConnectionError):
            trial.finished(CANCELLED, None)
            raise

    async def _whole(self, trial: Trial, answer: aiohttp.ClientResponse) -> web.Response:
        body = await whole_body(answer, self._settings.max_response_bytes)
        served = answer.status < 400
        trial.finished(COMPLETED if served else FAILED, usage_of(body) if served else None)
        return web.Response(status=answer.status, body=body, headers=_client_headers(trial, answer))

    async def _stream(
        self, http: web.Request, call: Call, trial: Trial, answer: aiohttp.ClientResponse
    ) -> web.StreamResponse:
        events = SseReader(hide_usage=call.usage_added)
        response: web.StreamResponse | None = None
        try:
            while data := await next_bytes(answer):
                block = events.feed(data)
                if events.server_error:
                    raise TryFailed("engine-error", "error event")
                if events.has_token:
                    trial.first_token()
                if block:
                    response = response or await _begin(http, trial, answer)
                    await response.write(block)
            if response is None:
                raise TryFailed("dropped", "end of stream before the first event")
        except TryFailed as failure:
            if response is None:
                raise
            await _break_off(http, response, trial, failure, events)
            return response
        trial.finished(COMPLETED, events.usage)
        await response.write_eof(events.end())
        return response

    def _engine_headers(
        self, http: web.Request, call: Call, endpoint: RoutedEndpoint
    ) -> Mapping[str, str]:
        headers = forwarded(http.headers)
        headers["Content-Type"] = "application/json"
        headers["X-Request-Id"] = call.route.request_id
        if self._fleet.shares_url(endpoint.url):
            headers["X-data-parallel-rank"] = str(endpoint.data_parallel_rank)
        return headers


def _untried(decision: Decision, tried: Sequence[str]) -> list[RoutedEndpoint]:
    """The decision's endpoints, best first."""
    reply = decision.reply
    return [e for e in (reply.endpoint, *reply.alternatives) if e.endpoint_id not in tried]


def _count(failure: TryFailed, endpoint: RoutedEndpoint) -> None:
    metrics.retries.labels(failure.kind).inc()
    log.warning("endpoint failed", extra={"endpoint": endpoint.endpoint_id, "reason": str(failure)})


def _client_headers(trial: Trial, answer: aiohttp.ClientResponse) -> dict[str, str]:
    reply = trial.decision.reply
    return {
        **forwarded(answer.headers),
        "x-farsight-endpoint": trial.endpoint.endpoint_id,
        "x-farsight-decision-id": reply.decision_id,
        "x-farsight-cached-tokens": str(reply.cached_tokens),
    }


async def _begin(
    http: web.Request, trial: Trial, answer: aiohttp.ClientResponse
) -> web.StreamResponse:
    """Send the head; from here on there is no other try."""
    response = web.StreamResponse(headers=_client_headers(trial, answer))
    await response.prepare(http)
    return response


async def _break_off(
    http: web.Request,
    response: web.StreamResponse,
    trial: Trial,
    failure: TryFailed,
    events: SseReader,
) -> None:
    """Tell client and router that the engine failed in the middle of its answer."""
    metrics.broken_streams.labels(failure.kind).inc()
    trial.finished(FAILED, events.usage)
    trial.endpoint_failed(str(failure), "")
    body = error_body(f"the endpoint failed: {failure}", "server_error", None, "endpoint-failed")
    await response.write(b"data: " + body + b"\n\n")
    if http.transport is not None:
        http.transport.close()  # without the closing chunk, so that nobody takes it for the end
