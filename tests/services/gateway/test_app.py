"""The gateway's routes and its answers to bad input."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from farsight.errors import FarsightError, InvalidField, NoEndpoint, Overloaded, UnknownModel
from tests.services.gateway.rig import CHAT, COMPLETION, endpoint_record, running


def raising(error: FarsightError) -> Callable[[Any], Any]:
    """A decision that is an error."""

    def decide(request: Any) -> Any:
        raise error

    return decide


@pytest.mark.parametrize(
    ("path", "body", "headers", "param"),
    [
        ("/v1/completions", b"{", {}, "body"),
        ("/v1/completions", COMPLETION | {"prompt": ""}, {}, "prompt"),
        ("/v1/completions", COMPLETION | {"prompt": ["a", "b"]}, {}, "prompt"),
        ("/v1/completions", COMPLETION | {"model": 1}, {}, "model"),
        ("/v1/completions", COMPLETION, {"x_slo_ttft_ms": "nan"}, "x-slo-ttft-ms"),
        ("/v1/completions", COMPLETION, {"x_slo_tpot_ms": "-5"}, "x-slo-tpot-ms"),
        ("/v1/completions", COMPLETION, {"x_request_id": "x" * 200}, "x-request-id"),
        ("/v1/chat/completions", CHAT | {"messages": []}, {}, "messages"),
        ("/v1/completions", b"junk", {"Content_Encoding": "gzip"}, "body"),
    ],
)
async def test_bad_input_is_400_and_names_its_field(
    path: str, body: Any, headers: dict[str, str], param: str
) -> None:
    """Neither router nor engine is asked."""
    async with running() as rig:
        async with rig.post(body, path, **headers) as answer:
            error = (await answer.json())["error"]

        assert (answer.status, error["param"]) == (400, param)
        assert error["type"] == "invalid_request_error"
        assert param in error["message"]
        assert not rig.router.requests


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (UnknownModel("m", ["other"]), 404, "other"),
        (InvalidField("token_ids", "ids below 10"), 400, "prompt: expected ids below 10"),
        (NoEndpoint("all are sick"), 503, "all are sick"),
        (Overloaded("queue is full"), 429, "queue is full"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_the_router_refuses_has_its_status(
    error: FarsightError, status: int, says: str
) -> None:
    """The reason reaches the client."""
    async with running() as rig:
        rig.router.decide = raising(error)
        async with rig.post(COMPLETION, x_request_id="r1") as answer:
            detail = (await answer.json())["error"]

    assert answer.status == status
    assert says in detail["message"]
    assert answer.headers["x-request-id"] == "r1"


async def test_a_body_over_the_bound_is_413() -> None:
    """With and without a length header."""
    async with running(max_body_bytes=2048) as rig:
        big = json.dumps(COMPLETION | {"prompt": "x" * 4096}).encode()
        async with rig.post(big) as answer:
            error = (await answer.json())["error"]

    assert answer.status == 413
    assert error["code"] == "request_too_large"


async def test_a_large_body_within_the_bound_reaches_the_engine() -> None:
    """Megabytes of prompt pass."""
    body = COMPLETION | {"prompt": "x" * (3 << 20)}
    async with running() as rig:
        async with rig.post(body) as answer:
            await answer.read()

        assert answer.status == 200
        assert rig.engines[0].seen[0].body == body


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("GET", "/v1/completions", 405), ("POST", "/healthz", 405)],
)
async def test_unknown_routes_answer_in_json(method: str, path: str, status: int) -> None:
    """Also what aiohttp answers by itself has OpenAI's form."""
    async with running() as rig, rig.client.request(method, rig.url + path) as answer:
        error = (await answer.json())["error"]

    assert answer.status == status
    assert path in error["message"]


async def test_models_and_adapters_are_listed_once() -> None:
    """/v1/models is what the endpoints serve, adapters with their base model."""
    async with running() as rig:
        rig.fleet.set_endpoints(
            {
                "a": endpoint_record("a", "http://h:1", lora_names=["tuned"]),
                "b": endpoint_record("b", "http://h:2", max_model_len_tokens=99),
            }
        )
        async with rig.client.get(rig.url + "/v1/models") as answer:
            listed = await answer.json()

    assert listed["object"] == "list"
    assert [(card["id"], card["parent"]) for card in listed["data"]] == [
        ("m", None),
        ("tuned", "m"),
    ]


async def test_readiness_says_what_is_missing() -> None:
    """Alive at once, ready with a router and an endpoint."""
    async with running() as rig:
        async with rig.client.get(rig.url + "/readyz") as answer:
            missing = (await answer.json())["missing"]
            assert (answer.status, list(missing)) == (503, ["endpoints"])
        rig.fleet.set_endpoints({"a": endpoint_record("a", "http://h:1")})
        async with rig.client.get(rig.url + "/readyz") as answer:
            assert answer.status == 200
        async with rig.client.get(rig.url + "/healthz") as answer:
            assert answer.status == 200


async def test_metrics_count_requests_and_retries() -> None:
    """The HTTP port serves Prometheus text."""
    async with running() as rig:
        rig.engines[0].failure = "status-500"
        async with rig.post(COMPLETION | {"stream": True}) as answer:
            await answer.read()
        async with rig.client.get(rig.url + "/metrics") as answer:
            text = await answer.text()

    assert 'farsight_gateway_requests_total{code="200",route="/v1/completions"}' in text
    assert 'farsight_gateway_retries_total{reason="status-5xx"}' in text
    assert "farsight_gateway_ttft_seconds_count" in text
