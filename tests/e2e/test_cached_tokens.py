"""What the router says about a pod's cache is what the engine then takes from it."""

import aiohttp
import pytest

from farsight.demo.figures import exact_share
from farsight.demo.phases import run_probes
from farsight.demo.senders import GatewaySender
from farsight.demo.workload import WorkloadSpec
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
    assert share >= 0.99
    assert any(s.cached_tokens for s in sent)
    assert await evictions(fleet) > before
