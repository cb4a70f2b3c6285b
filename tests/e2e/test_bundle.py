"""The latency model is fitted on live traffic and goes live without a restart."""

import aiohttp
import pytest

from farsight.channel import connect
from farsight.discovery import bundle_key, decode_bundle_pointer
from farsight.etcd import Etcd
from farsight.local.fleet import Fleet
from farsight.pb.predictor_pb2 import PredictorStatusRequest
from farsight.pb.predictor_pb2_grpc import PredictorStub
from tests.e2e.observe import until
from tests.e2e.traffic import Traffic

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="session"),
]


async def live_version(fleet: Fleet) -> int:
    """Version of the bundle that the predictor answers with; 0 for none."""
    async with connect(fleet.replicas("predictor")[0].address) as channel:
        status = await PredictorStub(channel).Status(PredictorStatusRequest(), timeout=2)
    return max((b.version for b in status.bundles if b.model == "tiny"), default=0)


async def test_a_newer_bundle_goes_live_under_traffic(fleet: Fleet) -> None:
    """Traffic makes samples, samples a bundle, and decisions use it; nothing fails meanwhile."""
    before = await live_version(fleet)

    async def newer() -> bool:
        return await live_version(fleet) > before

    async with Traffic(fleet.gateway_url, "tiny", seed=5) as traffic:
        await until(newer, "a newer bundle in the predictor", 180)
        await traffic.more(10)

    etcd = Etcd(fleet.etcd)
    record = await etcd.get(bundle_key("tiny"))
    await etcd.close()
    assert record is not None
    assert decode_bundle_pointer(record).version >= before + 1
    assert not traffic.failures


async def test_the_gateway_lists_the_model(fleet: Fleet) -> None:
    """/v1/models names what the pods serve."""
    url = f"{fleet.gateway_url}/v1/models"
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        listed = await response.json()

    assert [model["id"] for model in listed["data"]] == ["tiny"]
