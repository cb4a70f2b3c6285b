"""The router over gRPC, with real etcd, NATS and indexer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

from farsight import subjects
from farsight.bus import Bus
from farsight.channel import connect
from farsight.etcd import Etcd
from farsight.pb.events_pb2 import InFlightDelta, Sample
from farsight.pb.router_pb2 import (
    Chat,
    EndpointFailed,
    FirstToken,
    ReportEvent,
    RouteReply,
    RouteRequest,
    RouterStatusReply,
    RouterStatusRequest,
)
from farsight.pb.router_pb2_grpc import RouterStub
from farsight.pb.types_pb2 import CONFIDENCE_APPROXIMATE, CONFIDENCE_EXACT
from farsight.server import FIELD_KEY, REASON_KEY
from services.router.settings import RouterSettings
from tests.fakes.tokenizer import VOCABULARY, save_tokenizer
from tests.services.router.deployed import Sidecars, finished, health, indexer, ready, router
from tests.services.router.given import record, tokens
from tests.waiting import eventually

if TYPE_CHECKING:
    from farsight.pb.router_pb2_grpc import RouterAsyncStub

IDS = tokens(1000) % len(VOCABULARY)
PROMPT = IDS.tobytes()


@dataclass
class Deployment:
    """A router with two endpoints, beside a real indexer."""

    stub: "RouterAsyncStub"
    channel: grpc.aio.Channel
    sidecars: Sidecars
    address: str

    async def route(self, **fields: object) -> RouteReply:
        """One decision, of 1,000 token ids unless told."""
        given: dict[str, object] = {"model": "m"}
        if not {"text", "chat", "token_ids"} & fields.keys():
            given["token_ids"] = PROMPT
        request = RouteRequest(**(given | fields))  # type: ignore[arg-type] # fields by name
        return await self.stub.Route(request, timeout=10)

    async def until(self, holds: Callable[[RouteReply], bool]) -> RouteReply:
        """The first explained decision that is as wanted; each is reported as finished."""
        async with asyncio.timeout(10):
            while True:
                await self.sidecars.beat("a", "b")
                reply = await self.route(explain=True)
                await self.report(finished(reply))
                if holds(reply):
                    return reply
                await asyncio.sleep(0.02)

    async def report(self, *events: ReportEvent) -> tuple[int, int]:
        """Events and unknown decisions, as the router counted."""
        call = self.stub.Report()
        for event in events:
            await call.write(event)
        await call.done_writing()
        summary = await call
        return summary.events, summary.unknown_decisions

    async def status(self) -> RouterStatusReply:
        """The status page."""
        return await self.stub.Status(RouterStatusRequest(), timeout=5)


@pytest.fixture
async def deployed(
    etcd: Etcd, bus: Bus, etcd_url: str, nats_url: str, tmp_path: Path
) -> AsyncIterator[Deployment]:
    """Everything up, and both endpoints EXACT in the index."""
    sidecars = Sidecars(etcd, bus)
    source = save_tokenizer(tmp_path)
    for endpoint_id in ("a", "b"):
        await sidecars.join(record(endpoint_id, tokenizer=source, max_model_len_tokens=4096))
    async with (
        indexer(etcd_url, nats_url),
        router(etcd_url, nats_url, speculative_s=0) as runtime,
        connect(runtime.endpoint.address) as channel,
    ):
        made = Deployment(RouterStub(channel), channel, sidecars, runtime.endpoint.address)
        await ready(channel)
        await made.until(lambda reply: "index-none" not in reply.fallbacks and exact(reply))
        yield made


def exact(reply: RouteReply) -> bool:
    """The index knows every candidate."""
    return all(c.confidence == CONFIDENCE_EXACT for c in reply.candidates)


async def test_a_request_goes_where_its_prefix_is(deployed: Deployment) -> None:
    """As the index has it from NATS; the load of the engines is known as well."""
    await deployed.sidecars.store("b", IDS.tolist())

    reply = await deployed.until(lambda r: r.cached_tokens > 0)

    assert reply.endpoint.endpoint_id == "b"
    assert reply.endpoint.url == "http://b:8000"
    assert (reply.prompt_tokens, reply.cached_tokens) == (1000, 992)
    assert [e.endpoint_id for e in reply.alternatives] == ["a"]
    assert list(reply.fallbacks) == ["predictor-none"]
    assert max(c.load_age_ms for c in reply.candidates) < 10_000


async def test_text_and_chat_are_tokenised(deployed: Deployment) -> None:
    """With the tokenizer that the record names; the ids come back when wanted."""
    text = await deployed.route(text="hello world", return_token_ids=True)
    messages = '[{"role": "user", "content": "hello"}]'
    chat = await deployed.route(chat=Chat(messages_json=messages), return_token_ids=True)

    words = [VOCABULARY[w] for w in ("<s>", "hello", "world")]
    told = [VOCABULARY[w] for w in ("<user>", "hello", "</s>", "<assistant>")]
    assert list(memoryview(text.token_ids).cast("I")) == words
    assert list(memoryview(chat.token_ids).cast("I")) == told


async def test_a_request_without_an_id_gets_one(deployed: Deployment) -> None:
    """A given one is kept."""
    given, made = await deployed.route(request_id="mine"), await deployed.route()

    assert given.request_id == "mine"
    assert len(made.request_id) == 32
    assert given.decision_id != made.decision_id


@pytest.mark.parametrize(
    ("fields", "code", "reason", "field", "text"),
    [
        ({"model": "x"}, "NOT_FOUND", "unknown-model", "model", "known models: m"),
        ({"model": ""}, "INVALID_ARGUMENT", "invalid-field", "model", "model"),
        ({"slo_ttft_ms": float("nan")}, "INVALID_ARGUMENT", "invalid-field", "slo_ttft_ms", "nan"),
        ({"slo_tpot_ms": -5.0}, "INVALID_ARGUMENT", "invalid-field", "slo_tpot_ms", "-5"),
        ({"token_ids": b""}, "INVALID_ARGUMENT", "invalid-field", "token_ids", "at least one"),
        ({"token_ids": b"123"}, "INVALID_ARGUMENT", "invalid-field", "token_ids", "4 bytes"),
        (
            {"token_ids": b"\xff" * 4},
            "INVALID_ARGUMENT", "invalid-field", "token_ids", "ids below",
        ),
        (
            {"token_ids": bytes(4 * 4096)},
            "INVALID_ARGUMENT", "invalid-field", "token_ids", "fewer than 4096",
        ),
        (
            {"text": "x" * ((8 << 20) + 1)},
            "INVALID_ARGUMENT", "invalid-field", "text", "at most 8388608 bytes",
        ),
        (
            {"chat": Chat(messages_json="{")},
            "INVALID_ARGUMENT", "invalid-field", "chat.messages_json", "JSON",
        ),
        ({"profile": "x"}, "INVALID_ARGUMENT", "invalid-field", "profile", "predicted"),
        (
            {"exclude_endpoint_ids": ["a", "b"]},
            "UNAVAILABLE", "no-endpoint", "", "all 2 endpoints",
        ),
    ],
    ids=[
        "unknown model", "no model", "NaN target", "negative target", "empty", "odd bytes",
        "id out of range", "too long for the model", "too many bytes", "bad JSON",
        "unknown profile", "all excluded",
    ],
)  # fmt: skip
async def test_a_refusal_has_a_status_a_reason_and_the_field(
    deployed: Deployment,
    fields: dict[str, object],
    code: str,
    reason: str,
    field: str,
    text: str,
) -> None:
    """For machines in the trailing metadata, for people in the text."""
    await deployed.route(text="the tokenizer is loaded now")

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await deployed.route(**fields)

    assert refused.value.code().name == code
    assert text in (refused.value.details() or "")
    trailing = dict(refused.value.trailing_metadata() or ())
    assert (trailing.get(REASON_KEY), trailing.get(FIELD_KEY)) == (reason, field)


async def test_reports_free_load_and_become_samples(deployed: Deployment, bus: Bus) -> None:
    """Unknown decisions are counted in the summary; the sample reaches JetStream."""
    seen: list[Sample] = []
    bus.subscribe(subjects.SAMPLE_ALL, lambda _, data: seen.append(Sample.FromString(data)))
    await bus.flush()
    reply = await deployed.route(request_id="mine")
    during = {e.endpoint_id: e.in_flight_requests for e in (await deployed.status()).endpoints}

    counted = await deployed.report(
        ReportEvent(decision_id=reply.decision_id, first_token=FirstToken(ttft_ms=5)),
        ReportEvent(decision_id="nobody", first_token=FirstToken(ttft_ms=5)),
        finished(reply, ttft_ms=5.0, e2e_ms=9.0, output_tokens=3, cached_tokens=0),
    )

    chosen = reply.endpoint.endpoint_id
    assert counted == (3, 1)
    assert during[chosen] == 1
    assert {e.in_flight_requests for e in (await deployed.status()).endpoints} == {0}
    await eventually(lambda: any(s.request_id == "mine" for s in seen))
    sample = next(s for s in seen if s.request_id == "mine")
    assert (sample.endpoint_id, sample.ttft_ms, sample.output_tokens) == (chosen, 5, 3)


async def test_a_failed_endpoint_is_left_out(deployed: Deployment) -> None:
    """As soon as the report is in."""
    reply = await deployed.route()
    failed, other = reply.endpoint.endpoint_id, reply.alternatives[0].endpoint_id
    event = ReportEvent(
        decision_id=reply.decision_id,
        endpoint_id=failed,
        endpoint_failed=EndpointFailed(reason="refused", next_endpoint_id=other),
    )

    await deployed.report(event)
    again = [(await deployed.route()).endpoint.endpoint_id for _ in range(5)]

    assert set(again) == {other}
    inhibited = {e.endpoint_id: e.inhibited for e in (await deployed.status()).endpoints}
    assert inhibited == {failed: True, other: False}


async def test_status_tells_what_the_replica_sees(deployed: Deployment) -> None:
    """Profiles, models, endpoints and fallbacks."""
    reply = await deployed.route()
    await deployed.report(finished(reply, ttft_ms=50.0, e2e_ms=60.0, cached_tokens=0))

    status = await deployed.status()

    assert (status.replica_id, status.profile) == ("r1", "predicted")
    assert "round-robin" in status.profiles
    assert [(m.model, m.bundle_version) for m in status.models] == [("m", 0)]
    assert [e.endpoint_id for e in status.endpoints] == ["a", "b"]
    assert all(e.confidence == CONFIDENCE_EXACT for e in status.endpoints)
    mine = next(e for e in status.endpoints if e.endpoint_id == reply.endpoint.endpoint_id)
    assert mine.requests >= 1
    assert mine.prompt_tokens >= 1000
    assert mine.ttft_actual_ms > 0
    assert status.decisions >= 1
    assert status.fallbacks["predictor-none"] >= 1


async def test_endpoints_come_and_go(deployed: Deployment) -> None:
    """Another model is known at once; one that left has no endpoint."""
    await deployed.sidecars.join(record("x", model="other"))
    joined = await next_code(deployed, "NOT_FOUND")
    reply = await deployed.route(model="other")
    await deployed.sidecars.leave("x")
    status = await next_code(deployed, "OK")

    assert (joined, reply.endpoint.endpoint_id) == ("OK", "x")
    assert reply.confidence == CONFIDENCE_APPROXIMATE
    assert status == "UNAVAILABLE"


async def next_code(deployed: Deployment, code: str) -> str:
    """The first other status of calls for the model `other`."""
    found = code
    async with asyncio.timeout(10):
        while found == code:
            await asyncio.sleep(0.02)
            try:
                await deployed.route(model="other")
                found = "OK"
            except grpc.aio.AioRpcError as error:
                found = error.code().name
    return found


async def test_before_the_fleet_is_known_a_router_is_not_ready(
    etcd: Etcd, etcd_url: str, nats_url: str
) -> None:
    """Health says so, and Route tells clients to ask another replica."""
    async with (
        router(etcd_url, nats_url) as runtime,
        connect(runtime.endpoint.address) as channel,
    ):
        stub = RouterStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Route(RouteRequest(model="m", token_ids=PROMPT), wait_for_ready=True)
        said = await health(channel)

    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert dict(refused.value.trailing_metadata() or ())[REASON_KEY] == "not-ready"
    assert said == health_pb2.HealthCheckResponse.NOT_SERVING


def messages(count: int) -> Iterable[bytes]:
    """What a broken or hostile replica might send."""
    yield b"\xff\xff\xff"
    yield bytes((1 << 20) + 1)
    for i in range(count):
        yield InFlightDelta(router_id=f"x{i}", seq=1, full=True).SerializeToString()


async def test_bad_announcements_change_nothing(deployed: Deployment, bus: Bus) -> None:
    """They are counted, and decisions go on."""
    for data in messages(3):
        if len(data) <= 1 << 20:
            await bus.publish(subjects.inflight("x"), data)
    await bus.flush()

    assert (await deployed.route()).endpoint.endpoint_id in ("a", "b")


def test_the_bound_of_a_prompt_is_below_that_of_a_message() -> None:
    """So that a prompt that is too long is told its field, and not cut off by gRPC."""
    largest = RouterSettings.model_validate({"max_prompt_bytes": 15 << 20}).max_prompt_bytes

    assert largest + (1 << 20) <= 16 << 20


async def test_a_prompt_over_the_size_limit_names_its_field(deployed: Deployment) -> None:
    """Also when the message is larger than our own clients would send."""
    unbounded = [("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(deployed.address, options=unbounded) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await RouterStub(channel).Route(RouteRequest(model="m", text="x" * (20 << 20)))

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert dict(refused.value.trailing_metadata() or ())["farsight-field"] == "text"
