"""Pods of several block sizes under eviction pressure: what is foretold is what they take."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bench.accuracy.measure import FLEET, PROBES, TRAFFIC, measure
from farsight.local.fleet import Fleet
from tests.e2e.conftest import progress
from tests.e2e.observe import exact_endpoints, metric, until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mixed_fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """Three vLLM pods with blocks of 32, 64 and 128 tokens."""
    async with Fleet(FLEET, tmp_path_factory.mktemp("mixed"), progress) as running:
        yield running


async def test_settled_probes_are_exact_after_a_thousand_requests(mixed_fleet: Fleet) -> None:
    """1,000 multi-turn requests, eight at a time, evict on every pod; then 99.5 % are exact."""
    names = {engine.name for engine in mixed_fleet.engines}

    async def exact() -> bool:
        return await exact_endpoints(mixed_fleet) == names

    await until(exact, "the index is exact")

    found = await measure(mixed_fleet, TRAFFIC, PROBES, lambda _: None)

    print(found)  # noqa: T201 # the error under load is reported, not judged
    assert found.requests == 1000
    assert found.failed == 0
    assert found.settled_probes >= 0.9 * PROBES.requests
    assert found.exact_share >= 0.995, found
    assert found.mean_cached_tokens > 0
    for sidecar in mixed_fleet.replicas("sidecar"):
        removed = await metric(sidecar.metrics_url, "farsight_sidecar_events_total", kind="removed")
        assert removed > 100, sidecar.name
