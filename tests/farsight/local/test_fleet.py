"""Fleets without pods; the end-to-end tests run whole ones."""

from pathlib import Path

import aiohttp
import pytest

from farsight.local.errors import ProcessEnded
from farsight.local.fleet import Fleet, FleetSpec

# Enough to start processes of each sort but pods.
SMALL = FleetSpec(engines=0, predictors=0, trainers=0, routers=0, gateways=0)


@pytest.mark.timeout(90)
async def test_a_process_comes_back_at_its_address(tmp_path: Path) -> None:
    """Killed and restarted, NATS is ready again at its port; the end stops everything."""
    async with Fleet(SMALL, tmp_path) as fleet:
        indexer = fleet.replicas("indexer")[0]
        assert fleet.names == ("etcd", "nats", "indexer-0")
        assert fleet.service("indexer-0") == indexer

        await fleet.kill("nats")
        assert not fleet.process("nats").running
        await fleet.restart("nats")

        await fleet.ready("indexer-0")
        async with aiohttp.ClientSession() as http, http.get(indexer.metrics_url) as page:
            assert page.status == 200
        processes = [fleet.process(name) for name in fleet.names]
    assert not any(process.running for process in processes)


@pytest.mark.timeout(90)
async def test_a_service_that_ends_at_once_fails_the_start(tmp_path: Path) -> None:
    """The error names it and shows why, and what had been started is stopped."""
    spec = FleetSpec(
        engines=0,
        predictors=0,
        trainers=0,
        routers=0,
        gateways=0,
        flags={"indexer-0": ("--no-such-flag", "1")},
    )
    fleet = Fleet(spec, tmp_path)

    with pytest.raises(ProcessEnded, match=r"indexer-0 ended with 2(.|\n)*no-such-flag"):
        await fleet.__aenter__()

    assert not any(fleet.process(name).running for name in fleet.names)
