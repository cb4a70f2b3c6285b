"""etcd loops against a real etcd."""

import asyncio
from collections.abc import Mapping

from farsight.etcd import Etcd
from tests.waiting import eventually


async def test_watch_tells_the_whole_mapping_on_each_change(etcd: Etcd) -> None:
    """Listed keys come first, then puts and deletes change the mapping."""
    await etcd.put("/farsight/test/a", b"1")
    seen: list[Mapping[str, bytes]] = []
    watcher = asyncio.create_task(etcd.watch("/farsight/test/", seen.append))
    await eventually(lambda: bool(seen))

    await asyncio.sleep(0.1)
    await etcd.put("/farsight/test/b", b"2")
    await etcd.delete("/farsight/test/a")
    await eventually(lambda: seen[-1] == {"b": b"2"})

    assert seen[0] == {"a": b"1"}
    watcher.cancel()


async def test_a_registration_is_written_again_when_its_lease_is_lost(etcd: Etcd) -> None:
    """A key whose lease somebody revoked comes back; a withdrawn one stays away."""
    registration = etcd.register("/farsight/test/key", lambda: b"here", 2)
    keeper = asyncio.create_task(registration.run())
    await asyncio.sleep(0.3)
    assert await etcd.get("/farsight/test/key") == b"here"

    await etcd.call(registration._lease.revoke())
    await asyncio.sleep(1.2)
    assert await etcd.get("/farsight/test/key") == b"here"

    await registration.withdraw()
    await asyncio.sleep(0.8)
    assert await etcd.get("/farsight/test/key") is None
    keeper.cancel()


async def test_one_candidate_leads_and_the_next_takes_over(etcd: Etcd, etcd_url: str) -> None:
    """Only one candidate leads; when it ends, the other one does."""
    leading: list[str] = []

    async def lead(name: str) -> None:
        leading.append(name)
        await asyncio.Event().wait()

    other = Etcd(etcd_url)
    first = asyncio.create_task(etcd.elect("/farsight/test/leader", "a", 2, lambda: lead("a")))
    await eventually(lambda: leading == ["a"])
    second = asyncio.create_task(other.elect("/farsight/test/leader", "b", 2, lambda: lead("b")))
    await asyncio.sleep(1)
    assert leading == ["a"]

    first.cancel()
    await eventually(lambda: leading == ["a", "b"])
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    await other.close()


async def test_conditional_writes_lose_against_newer_ones(etcd: Etcd) -> None:
    """put_if_unchanged writes only over the value it was given."""
    assert await etcd.put_if_unchanged("/farsight/test/cas", None, b"1")
    assert not await etcd.put_if_unchanged("/farsight/test/cas", None, b"2")
    assert await etcd.put_if_unchanged("/farsight/test/cas", b"1", b"2")
    assert await etcd.get("/farsight/test/cas") == b"2"
