"""The bus against a real NATS server."""

import asyncio

import nats
import pytest
from nats.js.api import ObjectStoreConfig

from farsight import metrics
from farsight.bus import Bus
from farsight.errors import BadRecord, BusUnavailable
from farsight.subjects import KV_BUCKET, OBJECT_TTL_S


async def test_subscribers_get_what_is_published(bus: Bus) -> None:
    """A message reaches a wildcard subscriber with its subject."""
    got: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
    bus.subscribe("farsight.test.*", lambda subject, data: got.put_nowait((subject, data)))
    await asyncio.sleep(0.05)
    await bus.flush()

    assert await bus.publish("farsight.test.a", b"1")

    assert await asyncio.wait_for(got.get(), 5) == ("farsight.test.a", b"1")


async def test_subscriptions_made_before_nats_is_up_are_served(nats_url: str) -> None:
    """A subscription asked for before `run` is live after it."""
    early = Bus(nats_url)
    got: asyncio.Queue[bytes] = asyncio.Queue()
    early.subscribe("farsight.early", lambda _, data: got.put_nowait(data))

    await early.run()
    await early.publish("farsight.early", b"x")

    assert await asyncio.wait_for(got.get(), 5) == b"x"
    await early.close()


async def test_publishing_without_nats_says_so() -> None:
    """Publish returns False and requests raise when there is no server."""
    away = Bus("nats://127.0.0.1:1")

    assert not await away.publish("farsight.test", b"")
    with pytest.raises(BusUnavailable):
        await away.request("farsight.test", b"", 0.1)


async def test_requests_are_answered(bus: Bus) -> None:
    """`serve` answers what `request` asks."""

    async def double(data: bytes) -> bytes:
        return data * 2

    bus.serve("farsight.double", double)
    await asyncio.sleep(0.05)

    assert await bus.request("farsight.double", b"ab", 2) == b"abab"


async def test_objects_are_replaced_and_bounded(bus: Bus) -> None:
    """The newest object of a name is returned, a too large one refused, a missing one None."""
    await bus.put_object("test-bucket", "name", b"old")
    await bus.put_object("test-bucket", "name", b"x" * 300_000)

    assert await bus.get_object("test-bucket", "name", 1_000_000) == b"x" * 300_000
    assert await bus.get_object("test-bucket", "other", 10) is None
    with pytest.raises(BadRecord, match="300000 bytes"):
        await bus.get_object("test-bucket", "name", 1000)


async def test_large_objects_arrive_whole(bus: Bus) -> None:
    """Many chunks, in order; an empty object is no missing one."""
    data = b"".join(i.to_bytes(4, "little") for i in range(1_000_000))
    await bus.put_object("test-bucket", "large", data)
    await bus.put_object("test-bucket", "empty", b"")

    assert await bus.get_object("test-bucket", "large", len(data)) == data
    assert await bus.get_object("test-bucket", "empty", 10) == b""


async def test_an_object_may_be_replaced_while_it_is_read(bus: Bus) -> None:
    """Readers get one of the versions, whole."""
    versions = [bytes([version]) * 500_000 for version in range(20)]
    await bus.put_object("test-bucket", "name", versions[0])

    async def write() -> None:
        for version in versions:
            await bus.put_object("test-bucket", "name", version)

    async def read() -> None:
        while not writing.done():
            assert await bus.get_object("test-bucket", "name", 1_000_000) in versions

    writing = asyncio.create_task(write())
    await asyncio.gather(*(read() for _ in range(4)))
    await writing


async def test_buckets_of_endpoints_forget_by_themselves(bus: Bus, nats_url: str) -> None:
    """The bucket is made with a time to live; one that has another stays as it is."""
    client = await nats.connect(nats_url)
    js = client.jetstream()
    await bus.put_object(KV_BUCKET, "name", b"x")
    assert (await (await js.object_store(KV_BUCKET)).status()).ttl == OBJECT_TTL_S[KV_BUCKET]

    await bus.purge()
    await js.create_object_store(KV_BUCKET, ObjectStoreConfig(ttl=0.5))
    await bus.put_object(KV_BUCKET, "name", b"x")
    assert (await (await js.object_store(KV_BUCKET)).status()).ttl == 0.5

    async with asyncio.timeout(15):
        # To list objects that go meanwhile takes the client seconds.
        while (await js.stream_info(f"OBJ_{KV_BUCKET}")).state.messages:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert await bus.list_objects(KV_BUCKET) == []
    await client.close()


async def test_streams_are_read_again_from_the_start(bus: Bus) -> None:
    """Without a durable name a consumer sees every stored message, and duplicates only once."""
    await bus.ensure_stream("TEST", ["test.samples.*"], 1_000_000, 3600)
    for i in (1, 2, 2):
        await bus.publish_durable("test.samples.a", str(i).encode(), dedupe_id=str(i))
    got: asyncio.Queue[bytes] = asyncio.Queue()

    async def collect(batch: list[bytes]) -> None:
        for data in batch:
            got.put_nowait(data)

    consumer = asyncio.create_task(bus.consume("TEST", None, collect, 10))

    assert [await asyncio.wait_for(got.get(), 5) for _ in range(2)] == [b"1", b"2"]
    assert got.empty()
    consumer.cancel()


async def test_a_handler_that_fails_is_counted_and_called_again(bus: Bus) -> None:
    """One bad message is not the end of a subscription, nor passed over in silence."""
    got: asyncio.Queue[bytes] = asyncio.Queue()
    failed = metrics.bus_dropped.labels("handler-failed")
    before = failed._value.get()

    def handler(subject: str, data: bytes) -> None:
        if data == b"bad":
            raise KeyError(data)
        got.put_nowait(data)

    bus.subscribe("farsight.test.failing", handler)
    await asyncio.sleep(0.05)
    await bus.flush()
    for data in (b"bad", b"good"):
        assert await bus.publish("farsight.test.failing", data)

    assert await asyncio.wait_for(got.get(), 5) == b"good"
    assert failed._value.get() == before + 1
