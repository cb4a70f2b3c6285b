"""Equal prompts that come at the same time are computed once, and the router says so."""

import asyncio

import aiohttp
import pytest

from farsight.client import RouterClient
from farsight.demo.phases import QUIET_S
from farsight.demo.senders import RouteApiSender, Sent
from farsight.demo.workload import WorkloadSpec, sessions
from farsight.local.engine import SERVED_MODEL
from farsight.local.fleet import Fleet
from tests.e2e.observe import exact_endpoints, until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="session"),
]

SIZE = 4
BURSTS = 3


async def test_a_burst_of_equal_prompts_goes_to_one_pod_and_is_predicted(fleet: Fleet) -> None:
    """No event can be there in time: the prompt on its way stands for its blocks."""
    names = {engine.name for engine in fleet.engines}

    async def exact() -> bool:
        return await exact_endpoints(fleet) == names

    await until(exact, "the index is exact")
    cold = sessions(
        WorkloadSpec(groups=BURSTS, users_per_group=1, turns=1, output_tokens=4, seed=77)
    )
    bursts: list[list[Sent]] = []
    async with (
        aiohttp.ClientSession() as http,
        RouterClient([fleet.replicas("router")[0].address]) as client,
    ):
        sender = RouteApiSender(http, client, SERVED_MODEL)
        for session in cold:
            body = session.ask()
            sends = [sender.send(f"{i}", body, "affinity-token-load") for i in range(SIZE)]
            bursts.append(list(await asyncio.gather(*sends)))
            await asyncio.sleep(QUIET_S)

    for burst in bursts:
        assert not [sent.failed for sent in burst if sent.failed]
        assert len({sent.endpoint_id for sent in burst}) == 1
        assert sorted(s.cached_tokens for s in burst) == sorted(
            s.cached_tokens_predicted for s in burst
        )
        assert sum(sent.cached_tokens > 0 for sent in burst) == SIZE - 1
