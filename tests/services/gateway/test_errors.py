"""Errors in OpenAI's form."""

import json

import pytest

from farsight.errors import (
    FarsightError,
    InvalidField,
    NoEndpoint,
    Overloaded,
    UnknownModel,
)
from farsight.replicas import ReplicasAway
from services.gateway.errors import EndpointsFailed, response_of


@pytest.mark.parametrize(
    ("error", "status", "param"),
    [
        (InvalidField("token_ids", "ids below 10"), 400, "prompt"),
        (InvalidField("chat.messages_json[2].role", "a string"), 400, "messages[2].role"),
        (InvalidField("slo_ttft_ms", "more"), 400, "x-slo-ttft-ms"),
        (InvalidField("x-slo-ttft-ms", "more"), 400, "x-slo-ttft-ms"),
        (InvalidField("session_id", "less"), 400, "x-session-id"),
        (UnknownModel("m", ["a"]), 404, "model"),
        (Overloaded("full"), 429, None),
        (NoEndpoint("sick"), 503, None),
        (ReplicasAway("none"), 503, None),
        (EndpointsFailed(["e0"]), 502, None),
        (FarsightError("other"), 500, None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_has_its_status(error: FarsightError, status: int, param: str | None) -> None:
    """Status, param, and Retry-After where trying again makes sense."""
    response = response_of(error)

    assert response.status == status
    assert isinstance(response.body, bytes)
    detail = json.loads(response.body)["error"]
    assert detail.keys() == {"message", "type", "param", "code"}
    assert detail["param"] == param
    assert ("Retry-After" in response.headers) is (status in (429, 503))
