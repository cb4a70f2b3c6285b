"""`farsight route` against a real gRPC server."""

import json
from pathlib import Path

from farsight.errors import UnknownModel
from farsight.etcd import Etcd
from farsight.pb.router_pb2 import Finished, RouteReply, RouteRequest
from tests.farsight.cli.decisions import decision
from tests.farsight.cli.fleet import farsight, whole_fleet


def decide(request: RouteRequest) -> RouteReply:
    """A decision with two candidates for the one model there is."""
    if request.model != "tiny":
        raise UnknownModel(request.model, ["tiny"])
    return decision()


async def test_explained_and_released(etcd: Etcd) -> None:
    """The request carries every option, the decision is shown, its load is released."""
    async with whole_fleet(etcd) as fleet:
        fleet.router.decide = decide
        outcome = await farsight(
            *("route", "--etcd", etcd.address, "--model", "tiny", "--tokens", "1,2,300"),
            *("--slo-ttft-ms", "200", "--slo-tpot-ms", "30.5", "--max-output-tokens", "64"),
            *("--profile", "predicted", "--salt", "s"),
        )

    assert (outcome.exit_code, outcome.err) == (0, "")
    assert "best total" in outcome.out
    assert "0.930" in outcome.out
    (request,) = fleet.router.requests
    assert request.token_ids == b"\1\0\0\0\2\0\0\0\x2c\1\0\0"
    assert (request.slo_ttft_ms, request.slo_tpot_ms) == (200, 30.5)
    assert (request.max_output_tokens, request.profile, request.cache_salt) == (
        64,
        "predicted",
        "s",
    )
    assert request.explain
    (event,) = fleet.router.events
    assert (event.decision_id, event.endpoint_id) == ("d-1", "e0")
    assert event.finished.status == Finished.STATUS_CANCELLED


async def test_json(etcd: Etcd, tmp_path: Path) -> None:
    """`--json` prints the decision as one object."""
    chat = tmp_path / "chat.json"
    chat.write_text('{"model": "x", "messages": [{"role": "user", "content": "hi"}]}')
    async with whole_fleet(etcd) as fleet:
        fleet.router.decide = decide
        outcome = await farsight(
            *("route", "--etcd", etcd.address, "--model", "tiny"),
            *("--chat-file", str(chat), "--json"),
        )

    shown = json.loads(outcome.out)
    assert outcome.exit_code == 0
    assert shown["endpoint_id"] == "e0"
    assert [c["is_chosen"] for c in shown["candidates"]] == [True, False]
    assert shown["candidates"][0]["scores"]["slo-attainment"] == 0.93
    assert fleet.router.requests[0].chat.messages_json == '[{"role": "user", "content": "hi"}]'
    assert not fleet.router.requests[0].HasField("slo_ttft_ms")


async def test_unknown_model(etcd: Etcd) -> None:
    """A model that nobody serves: exit code 2 and one line with the known models."""
    async with whole_fleet(etcd) as fleet:
        fleet.router.decide = decide
        outcome = await farsight(
            *("route", "--etcd", etcd.address, "--model", "huge", "--text", "hi")
        )

    assert (outcome.exit_code, outcome.out) == (2, "")
    assert outcome.err == "farsight: model: 'huge' is not served; known models: tiny\n"


async def test_no_router(etcd: Etcd) -> None:
    """Without a router: exit code 1 and one line."""
    outcome = await farsight("route", "--etcd", etcd.address, "--model", "tiny", "--text", "hi")

    assert (outcome.exit_code, outcome.err) == (1, "farsight: no router is registered\n")
