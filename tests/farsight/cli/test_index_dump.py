"""`farsight index dump` against real etcd and scripted replicas."""

import json

import pytest

from farsight.etcd import Etcd
from tests.farsight.cli.fleet import farsight
from tests.farsight.cli.index_fleet import Replica, indexer
from tests.farsight.index.messages import HOST, STORE, Cache, change

pytestmark = pytest.mark.timeout(60)


def cache() -> Cache:
    """Endpoint `e0` with blocks on two tiers."""
    cache = Cache("e0")
    cache.tell(change(STORE, [1, 2, 0xABC]), change(STORE, [5], HOST))
    return cache


async def test_a_table_of_every_replica(etcd: Etcd) -> None:
    """A row for each replica, tier and group, with the number of blocks."""
    async with indexer(etcd, Replica(cache()), "a"), indexer(etcd, Replica(cache(), [1]), "b"):
        outcome = await farsight("index", "dump", "e0", "--etcd", etcd.address)

    assert (outcome.exit_code, outcome.err) == (0, "")
    rows = [line.split() for line in outcome.out.splitlines()[2:] if line.strip()]
    assert [row[:7] for row in rows] == [
        ["a", "exact", "1", "1", "device", "0", "3"],
        ["a", "exact", "1", "1", "host", "0", "1"],
        ["b", "exact", "1", "1", "device", "0", "2"],
        ["b", "exact", "1", "1", "host", "0", "1"],
    ]


async def test_keys_as_lines(etcd: Etcd) -> None:
    """What they are of, then one key a line, of the replica that is named."""
    async with indexer(etcd, Replica(cache()), "a"), indexer(etcd, Replica(cache(), [1]), "b"):
        arguments = ("e0", "--replica", "b", "--json", "--etcd", etcd.address)
        outcome = await farsight("index", "dump", *arguments)

    assert outcome.exit_code == 0
    head, *keys = map(json.loads, outcome.out.splitlines())
    assert head == {
        "endpoint_id": "e0",
        "indexer": "b",
        "confidence": "EXACT",
        "epoch": 1,
        "seq": 1,
        "blocks": 3,
    }
    assert keys == [
        {"tier": "device", "group": 0, "key": "0000000000000002"},
        {"tier": "device", "group": 0, "key": "0000000000000abc"},
        {"tier": "host", "group": 0, "key": "0000000000000005"},
    ]


async def test_a_replica_that_is_gone_is_left_out(etcd: Etcd) -> None:
    """The others are shown; without any, there is one line and exit code 1."""
    replica = Replica(cache())
    async with indexer(etcd, replica, "a") as first, indexer(etcd, replica, "b") as second:
        await second.stop(0)
        one_left = await farsight("index", "dump", "e0", "--etcd", etcd.address)
        await first.stop(0)
        none_left = await farsight("index", "dump", "e0", "--etcd", etcd.address)

    assert one_left.exit_code == 0
    assert none_left.exit_code == 1
    assert none_left.err == (
        "farsight: no indexer holds endpoint e0; a: unreachable; b: unreachable\n"
    )


async def test_strangers(etcd: Etcd) -> None:
    """An endpoint that nobody holds is exit code 1, a replica that is not there is 2."""
    async with indexer(etcd, Replica(cache()), "a"):
        endpoint = await farsight("index", "dump", "e9", "--etcd", etcd.address)
        replica = await farsight("index", "dump", "e0", "--replica", "z", "--etcd", etcd.address)

    assert endpoint.exit_code == 1
    assert endpoint.err == "farsight: no indexer holds endpoint e9\n"
    assert replica.exit_code == 2
    assert replica.err == "farsight: --replica: expected one of ['a'], not 'z'\n"
