"""What the end-to-end tests look at: Prometheus pages and the index."""

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from farsight.channel import connect
from farsight.local.fleet import Fleet
from farsight.pb.index_pb2 import IndexStatusRequest
from farsight.pb.index_pb2_grpc import IndexStub
from farsight.pb.types_pb2 import CONFIDENCE_EXACT


async def metric(url: str, name: str, /, **labels: str) -> float:
    """Sum of the samples of a metric whose labels begin with the given values."""
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        page = await response.text()
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name
        and all(sample.labels.get(k, "").startswith(v) for k, v in labels.items())
    )


async def total(fleet: Fleet, kind: str, name: str, /, **labels: str) -> float:
    """The metric summed over the replicas of a kind that answer."""
    values = []
    for replica in fleet.replicas(kind):
        try:
            values.append(await metric(replica.metrics_url, name, **labels))
        except aiohttp.ClientError:
            continue
    return sum(values)


async def exact_endpoints(fleet: Fleet) -> set[str]:
    """Endpoints for which the indexer says EXACT."""
    async with connect(fleet.replicas("indexer")[0].address) as channel:
        reply = await IndexStub(channel).Status(IndexStatusRequest(), timeout=2)
    return {s.endpoint_id for s in reply.sources if s.confidence == CONFIDENCE_EXACT}


async def until(condition: Callable[[], Awaitable[bool]], what: str, limit_s: float = 60) -> None:
    """Wait for an awaited condition; says what did not happen."""
    try:
        async with asyncio.timeout(limit_s):
            while not await condition():  # noqa: ASYNC110 # other processes make it true
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"not within {limit_s:.0f} s: {what}") from None
