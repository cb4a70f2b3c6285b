"""The client of the index over several replicas, with real gRPC servers behind it."""

from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest

from farsight.errors import InvalidField
from farsight.index.match import Confidence, Matches
from farsight.index.question import asked_again_total
from farsight.index.remote import MOVE_S, RemoteIndex
from farsight.index.second_looks import LOOK_AGAIN_S
from farsight.index.shards import holding, replicas_of
from farsight.replicas import AVOID_S, ReplicasAway
from tests.farsight.index.replica import ScriptedIndexer, indexers

EXACT, DEGRADED = Confidence.EXACT, Confidence.DEGRADED
KEYS = np.array([1, 2, 3], np.uint64)
FLEET = tuple(f"pod-{i}" for i in range(40))


class Client:
    """A client and its clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.index = RemoteIndex(2.0, lambda: self.now_s)

    async def ask(self, endpoint_ids: Sequence[str] = ("a", "b")) -> Matches:
        """Match."""
        return await self.index.match(KEYS, endpoint_ids)

    async def blocks(self, endpoint_ids: Sequence[str] = ("a", "b")) -> dict[str, int]:
        """Device blocks by endpoint."""
        found = await self.ask(endpoint_ids)
        return dict(zip(found.endpoint_ids, found.device_blocks.tolist(), strict=True))

    async def preferred(self, *replicas: ScriptedIndexer) -> list[ScriptedIndexer]:
        """The replicas in the order in which this client asks them."""
        before = [len(replica.asked) for replica in replicas]
        await self.ask()
        return sorted(
            replicas,
            key=lambda replica: before[replicas.index(replica)] - len(replica.asked),
        )


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A client that knows nobody."""
    client = Client()
    yield client
    await client.index.close()


def knowing(*replicas: ScriptedIndexer, confidence: Confidence = EXACT) -> None:
    """Everybody knows everything."""
    for replica in replicas:
        replica.known = {e: (i + 1, confidence) for i, e in enumerate(("a", "b", *FLEET))}


def again(reason: str) -> float:
    """Endpoints that were asked for again."""
    return float(asked_again_total.labels(reason)._value.get())


async def test_without_replicas_it_says_so(client: Client) -> None:
    """At once, with the reason that becomes a fallback's name."""
    with pytest.raises(ReplicasAway) as away:
        await client.ask()

    assert away.value.why == "none"


async def test_one_exact_answer_is_one_call(client: Client) -> None:
    """However many replicas hold everything."""
    one, two = ScriptedIndexer("i1"), ScriptedIndexer("i2")
    knowing(one, two)
    async with indexers(one, two) as records:
        client.index.update(records)
        for _ in range(3):
            assert await client.blocks() == {"a": 1, "b": 2}

        assert sorted([len(one.asked), len(two.asked)]) == [0, 3]
        assert (await client.ask(())).endpoint_ids == ()


async def test_clients_prefer_different_replicas() -> None:
    """So that the calls of many spread."""
    replicas = [ScriptedIndexer(f"i{i}") for i in range(3)]
    knowing(*replicas)
    async with indexers(*replicas) as records:
        for _ in range(24):
            one_of_many = Client()
            one_of_many.index.update(records)
            await one_of_many.ask()
            await one_of_many.index.close()

    assert all(replica.asked for replica in replicas)


async def test_each_replica_is_asked_for_its_share(client: Client) -> None:
    """One call each, the columns in the order asked."""
    replicas = [ScriptedIndexer(f"i{i}", copies=1) for i in range(3)]
    knowing(*replicas)
    async with indexers(*replicas) as records:
        client.index.update(records)
        found = await client.ask(FLEET)
        held = holding(FLEET, replicas_of(records))

    assert found.endpoint_ids == FLEET
    assert found.device_blocks.tolist() == list(range(3, 43))
    for column, replica in zip(held.T, replicas, strict=True):
        assert replica.asked == [tuple(e for e, holds in zip(FLEET, column, strict=True) if holds)]


@pytest.mark.parametrize("failure", ["gone", "refuses", "torn"])
async def test_another_holder_answers_when_one_fails(client: Client, failure: str) -> None:
    """Within the same request; the one that failed is avoided for a moment."""
    one, two = ScriptedIndexer("i1"), ScriptedIndexer("i2")
    knowing(one, two)
    async with indexers(one, two) as records:
        client.index.update(records)
        first, second = await client.preferred(one, two)
        if failure == "gone":
            await first.stop()
        elif failure == "refuses":
            first.error = InvalidField("keys", "better ones")
        else:
            first.is_torn = True
        failed = again("failed")

        assert await client.blocks() == {"a": 1, "b": 2}
        assert again("failed") == failed + 2
        asked = len(first.asked)
        assert await client.blocks() == {"a": 1, "b": 2}

        assert len(first.asked) == asked
        assert len(second.asked) == 2


async def test_a_replica_that_hangs_leaves_time_for_another(client: Client) -> None:
    """It gets a part of the budget only while somebody else could be asked."""
    one, two = ScriptedIndexer("i1"), ScriptedIndexer("i2")
    knowing(one, two)
    async with indexers(one, two) as records:
        client.index.update(records)
        first, _ = await client.preferred(one, two)
        first.hold.clear()

        assert await client.blocks() == {"a": 1, "b": 2}


async def test_all_that_fail_name_the_reason(client: Client) -> None:
    """The breaker of each then keeps calls away, until one is let through."""
    one = ScriptedIndexer("i1")
    knowing(one)
    async with indexers(one) as records:
        client.index.update(records)
        one.error = InvalidField("keys", "better ones")
        reasons = []
        for _ in range(6):
            with pytest.raises(ReplicasAway) as away:
                await client.ask()
            reasons.append(away.value.why)
        one.error = None
        client.now_s += 1.1
        answered = await client.blocks()

    assert reasons == ["refused"] * 5 + ["breaker"]
    assert answered == {"a": 1, "b": 2}


async def test_an_answer_that_is_not_exact_is_looked_up_once_more(client: Client) -> None:
    """The better answer wins, and the endpoint is asked for there for a while."""
    one, two = ScriptedIndexer("i1"), ScriptedIndexer("i2")
    knowing(one, two)
    async with indexers(one, two) as records:
        client.index.update(records)
        first, second = await client.preferred(one, two)
        first.known["a"] = 9, DEGRADED
        doubted = again("not-exact")

        assert await client.blocks() == {"a": 1, "b": 2}
        assert again("not-exact") == doubted + 1
        assert second.asked == [("a",)]
        assert await client.blocks() == {"a": 1, "b": 2}
        assert first.asked[-1:] == [("b",)]
        assert again("not-exact") == doubted + 1

        client.now_s += LOOK_AGAIN_S * 1.1
        await client.ask()
        assert first.asked[-1:] == [("a", "b")]


async def test_an_endpoint_that_nobody_is_sure_of_costs_one_look_a_while(client: Client) -> None:
    """Its sidecar may have no trust in itself: then no replica has."""
    one, two = ScriptedIndexer("i1"), ScriptedIndexer("i2")
    knowing(one, two)
    for replica in (one, two):
        replica.known["a"] = 5, DEGRADED
    async with indexers(one, two) as records:
        client.index.update(records)
        for _ in range(5):
            found = await client.ask()
            assert found.confidence.tolist() == [DEGRADED, EXACT]
        assert sorted([len(one.asked), len(two.asked)]) == [1, 5]

        client.now_s += LOOK_AGAIN_S * 1.1
        await client.ask()
        assert sorted([len(one.asked), len(two.asked)]) == [2, 6]


async def test_what_nobody_knows_is_left_out(client: Client) -> None:
    """After a second look."""
    one, two = ScriptedIndexer("i1"), ScriptedIndexer("i2")
    knowing(one, two)
    async with indexers(one, two) as records:
        client.index.update(records)

        assert await client.blocks(["nobody", "b"]) == {"b": 2}
        assert ("nobody",) in one.asked + two.asked


async def test_a_share_without_its_holder_is_left_out(client: Client) -> None:
    """What the others hold is answered."""
    replicas = [ScriptedIndexer(f"i{i}", copies=1) for i in range(3)]
    knowing(*replicas)
    async with indexers(*replicas) as records:
        client.index.update(records)
        held = holding(FLEET, replicas_of(records))[:, 1]
        await replicas[1].stop()

        found = await client.ask(FLEET)

    assert found.endpoint_ids == tuple(e for e, h in zip(FLEET, held, strict=True) if not h)


async def test_two_copies_bear_the_loss_of_one_replica(client: Client) -> None:
    """Every endpoint is answered in the request that meets the dead one."""
    replicas = [ScriptedIndexer(f"i{i}", copies=2) for i in range(3)]
    knowing(*replicas)
    async with indexers(*replicas) as records:
        client.index.update(records)
        await client.ask(FLEET)
        dead = next(replica for replica in replicas if replica.asked)
        await dead.stop()

        found = await client.ask(FLEET)

    assert found.endpoint_ids == FLEET
    assert (found.confidence == EXACT).all()


async def test_a_newcomer_that_has_not_loaded_loses_no_answer(client: Client) -> None:
    """Who held its share before is asked in the same request, as long as a move may last."""
    old, new = ScriptedIndexer("i1", copies=1), ScriptedIndexer("i2", copies=1)
    knowing(old)
    async with indexers(old, new) as records:
        client.index.update({"i1": records["i1"]})
        await client.ask(FLEET)
        client.index.update(records)

        found = await client.ask(FLEET)
        assert found.endpoint_ids == FLEET
        assert (found.confidence == EXACT).all()
        assert new.asked

        client.now_s += MOVE_S * 1.1
        assert len((await client.ask(FLEET)).endpoint_ids) < len(FLEET)


async def test_a_replica_that_is_not_ready_is_asked_last(client: Client) -> None:
    """It holds nothing yet; alone it is better than nobody."""
    ready, starting = ScriptedIndexer("i1"), ScriptedIndexer("i2")
    knowing(ready, starting)
    async with indexers(ready, starting) as records:
        for _ in range(8):
            other = Client()
            other.index.update(records | {"i2": starting.record(ready=False)})
            await other.ask()
            await other.index.close()
        assert starting.asked == []

        client.index.update({"i2": starting.record(ready=False)})
        assert await client.blocks() == {"a": 1, "b": 2}


async def test_a_replica_that_failed_is_tried_again_later(client: Client) -> None:
    """When the moment is over."""
    one, two = ScriptedIndexer("i1"), ScriptedIndexer("i2")
    knowing(one, two)
    async with indexers(one, two) as records:
        client.index.update(records)
        first, _ = await client.preferred(one, two)
        first.error = InvalidField("keys", "better ones")
        await client.ask()
        first.error = None
        client.now_s += AVOID_S * 1.1
        before = len(first.asked)

        await client.ask()

        assert len(first.asked) == before + 1
