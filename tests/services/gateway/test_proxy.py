"""The way of a request through the gateway."""

import asyncio
import json
import time
from typing import Any

import aiohttp
import pytest

from farsight.pb.router_pb2 import Finished
from tests.fakes.openai_engine import TOKENS, USAGE, Failure
from tests.services.gateway.rig import CHAT, COMPLETION, endpoint_record, running
from tests.waiting import eventually

STREAM = COMPLETION | {"stream": True}
BEFORE_FIRST_BYTE: list[Failure] = ["status-500", "before-first-byte", "after-head", "error-event"]


def events(body: bytes) -> list[Any]:
    """The data of an event stream, without [DONE]."""
    data = [line[6:] for line in body.split(b"\n\n") if line.startswith(b"data: ")]
    return [json.loads(item) for item in data if item != b"[DONE]"]


async def whole(post: Any) -> bytes:
    """Body of an answer."""
    async with post as answer:
        return bytes(await answer.read())


async def read_into(received: bytearray, answer: aiohttp.ClientResponse) -> None:
    """Keep what arrives, also when the connection breaks."""
    while part := await answer.content.readany():
        received += part


async def test_an_answer_that_is_not_streamed_passes_as_it_is() -> None:
    """Body, headers and the report of a plain completion."""
    async with running() as rig:
        async with rig.post(COMPLETION, x_request_id="r1") as answer:
            body = await answer.json()

        assert body == {"choices": [{"text": "".join(TOKENS)}], "usage": USAGE}
        assert answer.headers["x-farsight-endpoint"] == "e0"
        assert answer.headers["x-farsight-decision-id"] == "d-r1"
        assert answer.headers["x-farsight-cached-tokens"] == "32"
        assert answer.headers["x-request-id"] == "r1"
        finished = (await rig.event("finished")).finished

    assert finished.status == Finished.STATUS_COMPLETED
    assert (finished.prompt_tokens, finished.output_tokens, finished.cached_tokens) == (48, 3, 16)
    assert finished.ttft_ms == 0
    assert finished.tpot_ms == 0
    assert finished.e2e_ms > 0


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/completions", COMPLETION), ("/v1/chat/completions", CHAT)]
)
async def test_a_stream_passes_without_the_usage_nobody_asked_for(
    path: str, body: dict[str, Any]
) -> None:
    """The engine is asked for usage; the client sees its own stream; the report has it all."""
    async with running() as rig:
        rig.engines[0].token_gap_s = 0.02
        async with rig.post(body | {"stream": True}, path) as answer:
            streamed = await answer.read()

        sent = rig.engines[0].seen[0].body
        assert sent == body | {"stream": True, "stream_options": {"include_usage": True}}
        assert answer.content_type == "text/event-stream"
        assert not any("usage" in event for event in events(streamed))
        assert streamed.endswith(b"data: [DONE]\n\n")
        first = (await rig.event("first_token")).first_token
        finished = (await rig.event("finished")).finished

    assert 0 < first.ttft_ms == finished.ttft_ms < finished.e2e_ms
    assert finished.tpot_ms == pytest.approx((finished.e2e_ms - finished.ttft_ms) / 2)
    assert finished.cached_tokens == 16


async def test_a_client_that_asks_for_usage_gets_it() -> None:
    """The body is not touched then."""
    body = STREAM | {"stream_options": {"include_usage": True}}
    async with running() as rig:
        async with rig.post(body) as answer:
            streamed = await answer.read()

        assert rig.engines[0].seen[0].body == body
    assert events(streamed)[-1]["usage"] == USAGE


async def test_headers_pass_except_those_that_are_ours() -> None:
    """The engine sees the client's credentials and the request id, not the SLO."""
    async with running() as rig:
        async with rig.post(COMPLETION, Authorization="Bearer k", x_slo_ttft_ms="9") as answer:
            given_id = answer.headers["x-request-id"]

        headers = {k.lower(): v for k, v in rig.engines[0].seen[0].headers.items()}
        assert headers["authorization"] == "Bearer k"
        assert headers["x-request-id"] == given_id == rig.router.requests[0].request_id
        assert "x-slo-ttft-ms" not in headers
        assert "x-data-parallel-rank" not in headers
        assert rig.router.requests[0].slo_ttft_ms == 9


async def test_ranks_behind_one_url_are_told_apart() -> None:
    """An engine with several ranks is told which one was chosen."""
    async with running(engines=1) as rig:
        url = rig.engines[0].url
        rig.fleet.set_endpoints(
            {name: endpoint_record(name, url, data_parallel_rank=i) for i, name in enumerate("ab")}
        )
        async with rig.post(COMPLETION):
            pass

        assert rig.engines[0].seen[0].headers["X-data-parallel-rank"] == "0"


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("failure", BEFORE_FIRST_BYTE)
async def test_the_next_alternative_serves_when_a_pod_fails_first(
    failure: Failure, stream: bool
) -> None:
    """The client sees one good answer; the router hears of the failure and where it went on."""
    async with running() as rig:
        if not stream and failure in ("after-head", "error-event"):
            failure = "before-first-byte"
        rig.engines[0].failure = failure
        async with rig.post(COMPLETION | {"stream": stream}) as answer:
            body = await answer.read()

        assert answer.status == 200
        assert answer.headers["x-farsight-endpoint"] == "e1"
        assert b"world" in body
        assert b"error" not in body
        failed = await rig.event("endpoint_failed")
        finished = await rig.event("finished")
    assert (failed.endpoint_id, failed.endpoint_failed.next_endpoint_id) == ("e0", "e1")
    assert (finished.endpoint_id, finished.decision_id) == ("e1", failed.decision_id)


async def test_a_pod_that_nobody_listens_at_is_passed_over() -> None:
    """A refused connection is a failed try like any other."""
    async with running() as rig:
        gone = rig.engines[0].url
        rig.fleet.set_endpoints({})
        decide = rig.router.decide

        def nowhere_first(request: Any) -> Any:
            reply = decide(request)
            if reply.endpoint.url == gone:
                reply.endpoint.url = "http://127.0.0.1:1"
            return reply

        rig.router.decide = nowhere_first
        async with rig.post(STREAM) as answer:
            await answer.read()

        assert answer.headers["x-farsight-endpoint"] == "e1"
        assert (await rig.event("endpoint_failed")).endpoint_failed.reason.startswith("connect")


async def test_a_pod_that_hangs_is_left() -> None:
    """Silence before the first byte is bounded."""
    async with running(stream_silence_s=0.3) as rig:
        rig.engines[0].failure = "hang"
        async with rig.post(STREAM) as answer:
            await answer.read()

        assert answer.headers["x-farsight-endpoint"] == "e1"
        assert (await rig.event("endpoint_failed")).endpoint_failed.reason.startswith("timeout")


async def test_routers_are_asked_again_without_the_endpoints_that_failed() -> None:
    """When the alternatives are used up a fresh decision excludes them."""
    async with running(engines=3) as rig:
        decide = rig.router.decide

        def alone(request: Any) -> Any:
            reply = decide(request)
            reply.ClearField("alternatives")
            return reply

        rig.router.decide = alone
        rig.engines[0].failure = rig.engines[1].failure = "status-500"
        async with rig.post(COMPLETION) as answer:
            await answer.read()

        assert answer.headers["x-farsight-endpoint"] == "e2"
        excluded = [list(r.exclude_endpoint_ids) for r in rig.router.requests]
        assert excluded == [[], ["e0"], ["e0", "e1"]]


async def test_502_when_every_endpoint_failed() -> None:
    """The bound on tries ends it, and the answer names the endpoints."""
    async with running(engines=3, max_tries=2) as rig:
        for engine in rig.engines:
            engine.failure = "status-500"
        async with rig.post(STREAM) as answer:
            error = (await answer.json())["error"]

        assert answer.status == 502
        assert "e0, e1" in error["message"]
        assert not rig.engines[2].seen
        await eventually(lambda: len(rig.router.events_of("endpoint_failed")) == 2)
        assert rig.router.events_of("endpoint_failed")[1].endpoint_failed.next_endpoint_id == ""


async def test_a_refusal_of_the_engine_is_final() -> None:
    """4xx goes to the client as it is; no other endpoint is asked."""
    async with running() as rig:
        rig.engines[0].failure = "status-400"
        async with rig.post(STREAM) as answer:
            body = await answer.json()

        assert answer.status == 400
        assert body == {"error": {"message": "no"}}
        assert not rig.engines[1].seen
        assert (await rig.event("finished")).finished.status == Finished.STATUS_FAILED


@pytest.mark.parametrize("failure", ["mid-stream", "mid-stream-error", "hang-mid-stream"])
async def test_nothing_is_tried_again_after_the_first_byte(failure: Failure) -> None:
    """The client gets what came, an error event, and a connection that does not end well."""
    async with running(stream_silence_s=0.3) as rig:
        rig.engines[0].failure = failure
        rig.engines[0].token_gap_s = 0.05
        received = bytearray()
        async with rig.post(STREAM) as answer:
            with pytest.raises(aiohttp.ClientPayloadError):
                await read_into(received, answer)

        assert [list(event) for event in events(bytes(received))] == [["id", "choices"], ["error"]]
        assert not rig.engines[1].seen
        finished = (await rig.event("finished")).finished
        failed = await rig.event("endpoint_failed")
    assert finished.status == Finished.STATUS_FAILED
    assert finished.ttft_ms > 0
    assert failed.endpoint_failed.next_endpoint_id == ""


@pytest.mark.parametrize("failure", ["hang", "hang-mid-stream"])
async def test_a_client_that_leaves_stops_the_engine(failure: Failure) -> None:
    """The engine's connection is closed and the router hears CANCELLED."""
    async with running() as rig:
        rig.engines[0].failure = failure
        call = asyncio.create_task(whole(rig.post(STREAM)))
        await eventually(lambda: bool(rig.engines[0].seen))
        if failure == "hang-mid-stream":
            await rig.event("first_token")
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

        finished = await rig.event("finished")
        await eventually(lambda: rig.engines[0].disconnects == 1)
    assert finished.finished.status == Finished.STATUS_CANCELLED


async def test_draining_finishes_what_runs_and_takes_nothing_new() -> None:
    """A stream under way ends well; a new connection is refused."""
    async with running() as rig:
        rig.engines[0].token_gap_s = 0.2
        async with rig.post(STREAM) as answer:
            await answer.content.readany()
            rig.stop()
            await asyncio.sleep(0.05)
            async with aiohttp.ClientSession() as late:
                with pytest.raises(aiohttp.ClientConnectorError):
                    await late.get(rig.url + "/healthz")
            rest = await answer.content.read()

    assert rest.endswith(b"data: [DONE]\n\n")


async def test_draining_has_a_bound() -> None:
    """A stream that does not end is cut off."""
    async with running(drain_s=0.2) as rig:
        rig.engines[0].failure = "hang-mid-stream"
        async with rig.post(STREAM) as answer:
            await answer.content.readany()
            rig.stop()
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.content.read()

        assert (await rig.event("finished")).finished.status == Finished.STATUS_CANCELLED


async def test_503_when_every_router_is_away() -> None:
    """After the bound, with Retry-After; a router that comes back in time serves."""
    async with running(route_timeout_s=0.6) as rig:
        await rig.router.stop()
        started = time.monotonic()
        async with rig.post(COMPLETION) as answer:
            error = (await answer.json())["error"]

        assert answer.status == 503
        assert answer.headers["Retry-After"]
        assert error["code"] == "replicas-away"
        assert time.monotonic() - started > 0.4
