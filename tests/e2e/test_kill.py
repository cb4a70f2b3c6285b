"""kill -9 of each part under traffic: nothing fails that had not begun to stream from it."""

from dataclasses import dataclass

import aiohttp
import pytest

from farsight.channel import connect
from farsight.local.fleet import Fleet
from farsight.pb.router_pb2 import RouterStatusRequest
from farsight.pb.router_pb2_grpc import RouterStub
from tests.e2e.observe import exact_endpoints, total, until
from tests.e2e.traffic import Traffic

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="session"),
]


@dataclass(frozen=True, slots=True)
class Case:
    """Which process dies, and the counter that shows what was done about it."""

    victim: str
    kind: str
    metric: str
    label: tuple[str, str] | None = None


CASES = [
    Case("router-0", "gateway", "farsight_client_failovers_total"),
    Case("indexer-0", "router", "farsight_router_fallbacks_total", ("reason", "index-")),
    Case("predictor-0", "router", "farsight_router_fallbacks_total", ("reason", "predictor-")),
    Case("trainer-0", "router", "farsight_router_samples_total", ("result", "sent")),
    Case("pod-0", "gateway", "farsight_gateway_retries_total"),
    Case("sidecar-0", "router", "farsight_router_fallbacks_total", ("reason", "index-")),
    Case("nats", "router", "farsight_bus_dropped_total"),
    Case("etcd", "router", "farsight_etcd_relists_total"),
]
POD_CASES = [case for case in CASES if case.victim in ("pod-0", "sidecar-0")]


async def everything_whole(fleet: Fleet) -> bool:
    """Both pods are routed to by both routers, and the index is exact for both."""
    names = {engine.name for engine in fleet.engines}
    try:
        if await exact_endpoints(fleet) != names:
            return False
        for router in fleet.replicas("router"):
            async with connect(router.address) as channel:
                status = await RouterStub(channel).Status(RouterStatusRequest(), timeout=2)
            usable = {e.endpoint_id for e in status.endpoints if not e.inhibited}
            if usable != names:
                return False
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"{fleet.gateway_url}/readyz") as ready,
        ):
            return ready.status == 200
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False
    except Exception as error:  # grpc raises its own errors while a replica is away
        if type(error).__name__ != "AioRpcError":
            raise
        return False


@pytest.mark.parametrize("case", CASES, ids=[case.victim for case in CASES])
async def test_a_killed_part_fails_no_request(vllm_fleet: Fleet, case: Case) -> None:
    """One part dies under traffic, the fallback is counted, and after a restart all is whole."""
    await kill_under_traffic(vllm_fleet, case)


@pytest.mark.parametrize("case", POD_CASES, ids=[case.victim for case in POD_CASES])
async def test_emulated_pods_die_like_vllm_pods(emulated_fleet: Fleet, case: Case) -> None:
    """The same for what differs between the fleets: a pod, and the sidecar beside it."""
    await kill_under_traffic(emulated_fleet, case)


async def kill_under_traffic(fleet: Fleet, case: Case) -> None:
    """Kill, see what is done about it, restart."""
    labels = dict([case.label]) if case.label else {}
    await until(lambda: everything_whole(fleet), "whole before the test", 120)
    before = await total(fleet, case.kind, case.metric, **labels)

    async with Traffic(fleet.gateway_url, "tiny") as traffic:
        await traffic.more(10)
        await fleet.kill(case.victim)
        await traffic.more(40)

        async def counted() -> bool:
            return await total(fleet, case.kind, case.metric, **labels) > before

        if case.victim not in ("etcd", "nats"):
            await until(counted, f"{case.metric} rises", 30)
        await fleet.restart(case.victim)
        await until(counted, f"{case.metric} rises", 30)
        await until(lambda: everything_whole(fleet), "whole after the restart", 120)
        await traffic.more(10)

    unexcused = [r for r in traffic.failures if not (r.began and r.endpoint_id == case.victim)]
    assert not unexcused, unexcused[:3]
    assert len(traffic.results) >= 60
