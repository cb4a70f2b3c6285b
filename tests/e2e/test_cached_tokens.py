"""What the router says about a pod's cache is what the engine then takes from it."""

import asyncio

import aiohttp
import pytest

from farsight.client import RouterClient
from farsight.demo.figures import exact_share
from farsight.demo.phases import QUIET_S, run_probes
from farsight.demo.senders import GatewaySender, RouteApiSender
from farsight.demo.workload import WorkloadSpec, sessions
from farsight.local.engine import SERVED_MODEL
from farsight.local.fleet import Fleet
from tests.e2e.observe import exact_endpoints, total, until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="session"),
]

# 120 blocks of 32 tokens a pod: the prompts of five groups do not fit, so blocks are evicted.
PROBES = WorkloadSpec(groups=5, users_per_group=2, turns=4, output_tokens=6, seed=3)


async def evictions(fleet: Fleet) -> float:
    """Removals that the engines announced."""
    return await total(fleet, "sidecar", "farsight_sidecar_events_total", kind="removed")


async def test_settled_requests_are_predicted_exactly(fleet: Fleet) -> None:
    """Predicted == reported cached tokens in at least 99 % of settled requests, with evictions."""
    names = {engine.name for engine in fleet.engines}

    async def exact() -> bool:
        return await exact_endpoints(fleet) == names

    await until(exact, "the index is exact")
    before = await evictions(fleet)

    async with aiohttp.ClientSession() as http:
        gateway = GatewaySender(http, fleet.gateway_url, SERVED_MODEL)
        sent = await run_probes(PROBES, ("predicted", "round-robin"), gateway, lambda _: None)

    share, settled = exact_share(sent)
    assert not [s.failed for s in sent if s.failed]
    assert settled >= 0.9 * PROBES.requests
    wrong = [s for s in sent if s.cached_tokens != s.cached_tokens_predicted]
    assert share >= 0.99, wrong
    assert any(s.cached_tokens for s in sent)
    assert await evictions(fleet) > before


async def test_an_application_streams_from_the_pod_itself(fleet: Fleet) -> None:
    """Route API, then the pod, then reports: served as predicted, and counted by the router."""
    session = sessions(WorkloadSpec(groups=1, users_per_group=1, turns=2, seed=9))[0]
    before = await total(fleet, "router", "farsight_router_reports_total", kind="finished")

    routers = [router.address for router in fleet.replicas("router")]
    async with aiohttp.ClientSession() as http, RouterClient(routers) as client:
        sender = RouteApiSender(http, client, SERVED_MODEL)
        for _ in range(2):
            sent = await sender.send(session.name, session.ask(), "predicted")
            session.answer(sent.text)
            assert not sent.failed
            await asyncio.sleep(QUIET_S)

    assert sent.cached_tokens == sent.cached_tokens_predicted > 0
    after = await total(fleet, "router", "farsight_router_reports_total", kind="finished")
    assert after >= before + 2
