"""`farsight index diff` against real etcd and NATS, a real indexer, and scripted parts."""

import json
from collections.abc import AsyncIterator

import pytest

from farsight.bus import Bus
from farsight.etcd import Etcd
from tests.conftest import free_port
from tests.farsight.cli.fleet import Outcome, farsight
from tests.farsight.cli.index_fleet import Replica, Sidecar, indexer, offer
from tests.farsight.index.messages import HOST, REMOVE, STORAGE, STORE, change
from tests.services.processes import SERVING, process, until_health

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def sidecar(bus: Bus, etcd: Etcd) -> AsyncIterator[Sidecar]:
    """Endpoint `e0` with blocks on two tiers, registered, its sidecar alive."""
    sidecar = Sidecar(bus)
    sidecar.cache.tell(change(STORE, [1, 2, 3]), change(STORE, [0xABC], HOST))
    await offer(etcd)
    async with sidecar.alive():
        yield sidecar


async def diff(etcd: Etcd, bus: Bus, *arguments: str) -> Outcome:
    """Run the command."""
    return await farsight("index", "diff", "--etcd", etcd.address, "--nats", bus.url, *arguments)


async def test_equal(etcd: Etcd, bus: Bus, sidecar: Sidecar) -> None:
    """Every tier is shown with its blocks, the exit code is 0, and the snapshot is a fresh one."""
    async with indexer(etcd, Replica(sidecar.cache)):
        outcome = await diff(etcd, bus)

    assert (outcome.exit_code, outcome.err) == (0, "")
    assert "Equal: 1 endpoints" in outcome.out
    for shown in ("e0", "indexer-0", "exact", "device", "host"):
        assert shown in outcome.out
    assert [request.fresh for request in sidecar.asked] == [True]


async def test_equal_at_a_real_indexer_while_deltas_flow(
    etcd: Etcd, bus: Bus, sidecar: Sidecar
) -> None:
    """Both sides are compared after the same delta, though neither ever rests."""
    port = free_port()
    flags = (f"--etcd={etcd.address}", f"--nats={bus.url}", f"--listen=127.0.0.1:{port}")
    async with process("indexer", "--replica-id=real", *flags) as _, sidecar.busy():
        await until_health(f"127.0.0.1:{port}", SERVING)
        outcome = await diff(etcd, bus, "--json")

    assert outcome.exit_code == 0, outcome.out + outcome.err
    report = json.loads(outcome.out)
    assert report["verdict"] == "equal"
    ((replica,),) = (endpoint["replicas"] for endpoint in report["endpoints"])
    assert replica["indexer"] == "real"
    device = next(tier for tier in replica["tiers"] if tier["tier"] == "device")
    assert device["equal"] == 3 + 2 * (replica["seq"] - 1)


async def test_a_block_that_one_replica_lost(etcd: Etcd, bus: Bus, sidecar: Sidecar) -> None:
    """The replica, the tier and the key are named; the exit code is 1."""
    sound, broken = Replica(sidecar.cache), Replica(sidecar.cache, lost=[0xABC])
    async with indexer(etcd, sound, "sound"), indexer(etcd, broken, "broken"):
        shown = await diff(etcd, bus)
        outcome = await diff(etcd, bus, "--json")

    assert (shown.exit_code, outcome.exit_code) == (1, 1)
    assert "Different" in shown.out
    assert "000000000abc" in shown.out
    report = json.loads(outcome.out)
    verdicts = {r["indexer"]: r["verdict"] for r in report["endpoints"][0]["replicas"]}
    assert verdicts == {"sound": "equal", "broken": "different"}
    (wrong,) = (
        tier
        for replica in report["endpoints"][0]["replicas"]
        for tier in replica["tiers"]
        if tier["only_in_mirror"]
    )
    assert (wrong["tier"], wrong["group"], wrong["equal"]) == ("host", 0, 0)
    assert wrong["first_only_in_mirror"] == ["0000000000000abc"]
    assert (wrong["only_in_index"], wrong["first_only_in_index"]) == (0, [])


async def test_a_block_that_is_gone(etcd: Etcd, bus: Bus, sidecar: Sidecar) -> None:
    """What only the index holds is shown as such."""
    stale = Replica(sidecar.cache)
    stale.stuck = sidecar.cache.snapshot()
    sidecar.cache.tell(change(REMOVE, [2]))
    stale.stuck.seq = sidecar.cache.seq
    async with indexer(etcd, stale):
        outcome = await diff(etcd, bus, "e0")

    assert outcome.exit_code == 1
    assert "index: 0000000000000002" in outcome.out


async def test_empty_on_both_sides(etcd: Etcd, bus: Bus) -> None:
    """A dump without a block is of the delta that the status says."""
    fresh = Sidecar(bus)
    async with fresh.alive(), indexer(etcd, Replica(fresh.cache)):
        outcome = await diff(etcd, bus, "e0")

    assert outcome.exit_code == 0, outcome.out
    assert "both are empty" in outcome.out


@pytest.mark.parametrize(("pool", "code"), [("", 1), ("nfs", 0)], ids=["own", "shared"])
async def test_shared_storage(etcd: Etcd, bus: Bus, sidecar: Sidecar, pool: str, code: int) -> None:
    """Another member of a pool may have removed what the mirror still lists: not an error."""
    sidecar.cache.tell(change(STORE, [7, 8], STORAGE))
    async with indexer(etcd, Replica(sidecar.cache, lost=[8], storage_pool=pool)):
        outcome = await diff(etcd, bus)

    assert outcome.exit_code == code
    assert "0000000000000008" in outcome.out


async def test_sidecar_gone(etcd: Etcd, bus: Bus) -> None:
    """Nothing is compared: exit code 2, in words."""
    gone = Sidecar(bus)
    gone.cache.store(1)
    await offer(etcd)
    async with indexer(etcd, Replica(gone.cache)):
        outcome = await diff(etcd, bus)

    assert outcome.exit_code == 2
    assert "endpoint e0 at indexer indexer-0 could not be compared" in outcome.out
    assert "the sidecar does not answer" in outcome.out


async def test_replicas_that_do_not_know_the_endpoint(
    etcd: Etcd, bus: Bus, sidecar: Sidecar
) -> None:
    """One whose share it is cannot be compared; one whose share it is not does not hold it."""
    unknowing = Replica(sidecar.cache)
    unknowing.is_known = False
    async with indexer(etcd, Replica(sidecar.cache), "all"):
        async with indexer(etcd, unknowing, "none"):
            whole = await diff(etcd, bus)
        # With one copy, the endpoint is the share of the first of these by rendezvous.
        async with indexer(etcd, unknowing, "one", 1), indexer(etcd, unknowing, "two", 1):
            sharded = await diff(etcd, bus, "--json")

    assert whole.exit_code == 2
    assert "it does not know the endpoint" in whole.out
    verdicts = {
        r["indexer"]: r["verdict"] for r in json.loads(sharded.out)["endpoints"][0]["replicas"]
    }
    assert verdicts["all"] == "equal"
    assert "not held" in (verdicts["one"], verdicts["two"])


async def test_a_replica_that_stays_behind(etcd: Etcd, bus: Bus, sidecar: Sidecar) -> None:
    """It is asked again, and given up with both deltas named."""
    stuck = Replica(sidecar.cache)
    stuck.stuck = sidecar.cache.snapshot()
    sidecar.cache.store(9)
    async with indexer(etcd, stuck):
        outcome = await diff(etcd, bus)

    assert outcome.exit_code == 2
    why = " ".join(outcome.out.split())
    assert "it stays at delta 1 of epoch 1" in why
    assert "the mirror is at delta 2 of epoch 1" in why


async def test_another_life(etcd: Etcd, bus: Bus, sidecar: Sidecar) -> None:
    """Epochs that differ are not compared."""
    ahead = Replica(sidecar.cache)
    ahead.stuck = sidecar.cache.snapshot()
    ahead.stuck.epoch = 2
    async with indexer(etcd, ahead):
        outcome = await diff(etcd, bus)

    assert outcome.exit_code == 2
    assert "it knows epoch 2, the mirror is of epoch 1" in outcome.out


async def test_nothing_to_compare(etcd: Etcd, bus: Bus) -> None:
    """Without an indexer or an endpoint there is one line and exit code 2."""
    no_indexer = await diff(etcd, bus)
    async with indexer(etcd, Replica(Sidecar(bus).cache)):
        no_endpoint = await diff(etcd, bus)

    assert (no_indexer.exit_code, no_endpoint.exit_code) == (2, 2)
    assert no_indexer.err == "farsight: no indexer is registered\n"
    assert no_endpoint.err == "farsight: no endpoint is registered\n"


async def test_no_nats(etcd: Etcd, bus: Bus) -> None:
    """Its address is named, with the option; the exit code is 2."""
    away = f"nats://127.0.0.1:{free_port()}"
    async with indexer(etcd, Replica(Sidecar(bus).cache)):
        outcome = await farsight("index", "diff", "e0", "--etcd", etcd.address, "--nats", away)

    assert outcome.exit_code == 2
    assert outcome.err == f"farsight: NATS {away} does not answer; see --nats\n"


async def test_no_etcd() -> None:
    """The same for etcd."""
    away = f"127.0.0.1:{free_port()}"

    outcome = await farsight("index", "diff", "--etcd", away)

    assert outcome.exit_code == 2
    assert outcome.err == f"farsight: etcd {away} does not answer; see --etcd\n"
