"""etcd: keys under leases, watches that list again after every break, leader election.

Every loop here outlives etcd: it waits, counts and goes on when etcd is back.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import aetcd
import grpc

from farsight import metrics
from farsight.addresses import split_host_port
from farsight.cancellation import cancellation_kept
from farsight.errors import EtcdUnavailable
from farsight.log import get_logger

log = get_logger(__name__)
T = TypeVar("T")

CALL_TIMEOUT_S = 3.0
CHANNEL_OPTIONS = {
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
}
RETRY_S = 0.5
# A watch whose stream ended without an error hangs in the client, so it is made anew this often.
RELIST_S = 30.0
# Records that were there before a break and are missing after it: their owners could not renew
# the lease either, and get this long to write the record again.
REJOIN_GRACE_S = 8.0


class Etcd:
    """One client connection; safe to use before etcd is up."""

    def __init__(self, address: str) -> None:
        host, port = split_host_port(address, "etcd")
        self.address = address
        self._client = aetcd.Client(host=host, port=port, timeout=3, options=CHANNEL_OPTIONS)

    async def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(Exception):  # a broken connection cannot be closed more
            await self._client.close()

    async def call(self, operation: Awaitable[T]) -> T:
        """Await one client operation.

        :raises EtcdUnavailable: it failed or took longer than CALL_TIMEOUT_S.
        """
        try:
            with cancellation_kept():
                result = await asyncio.wait_for(operation, CALL_TIMEOUT_S)
        except (aetcd.ClientError, grpc.RpcError, TimeoutError, OSError) as error:
            metrics.etcd_connected.set(0)
            raise EtcdUnavailable(f"etcd {self.address}: {error!r}") from error
        metrics.etcd_connected.set(1)
        return result

    async def get(self, key: str) -> bytes | None:
        """Value of a key, None when it is absent."""
        found = await self.call(self._client.get(key.encode()))
        return None if found is None else bytes(found.value)

    async def put(self, key: str, value: bytes) -> None:
        """Write a key without a lease."""
        await self.call(self._client.put(key.encode(), value))

    async def delete(self, key: str) -> None:
        """Remove a key."""
        await self.call(self._client.delete(key.encode()))

    async def list_prefix(self, prefix: str) -> tuple[dict[str, bytes], int]:
        """Values by key without the prefix, and the revision they are of."""
        found = await self.call(self._client.get_prefix(prefix.encode()))
        values = {kv.key.decode()[len(prefix) :]: bytes(kv.value) for kv in found}
        return values, int(found.header.revision)

    async def leased_keys(self, prefix: str) -> frozenset[str]:
        """Keys without the prefix that go when the lease they are under ends."""
        found = await self.call(self._client.get_prefix(prefix.encode()))
        return frozenset(kv.key.decode()[len(prefix) :] for kv in found if kv.lease)

    async def put_if_unchanged(self, key: str, old: bytes | None, new: bytes) -> bool:
        """Write the key when its value is still `old` (None: absent); False when it is not."""
        compare = self._client.transactions
        name = key.encode()
        guard = compare.create(name) == 0 if old is None else compare.value(name) == old
        done, _ = await self.call(self._client.transaction([guard], [compare.put(name, new)], []))
        return bool(done)

    def register(self, key: str, value: Callable[[], bytes], ttl_s: int) -> "Registration":
        """A key that stays under a lease for as long as its `run` task lives."""
        return Registration(self, key, value, ttl_s)

    async def watch(self, prefix: str, on_change: Callable[[Mapping[str, bytes]], None]) -> None:
        """Call `on_change` with the whole mapping, key without prefix to value, on each change.

        Never returns. While etcd is away the last mapping stays in force; after a break, keys that
        are missing stay for REJOIN_GRACE_S.
        """
        known: dict[str, bytes] = {}
        broken = False
        while True:
            try:
                listed, revision = await self.list_prefix(prefix)
                if broken:
                    metrics.etcd_relists.inc()
                    listed = known | listed
                known = listed
                on_change(dict(known))
                wait_s = REJOIN_GRACE_S if broken else RELIST_S
                broken = False
                await self._follow(prefix, revision + 1, known, on_change, wait_s)
            except (EtcdUnavailable, aetcd.ClientError, grpc.RpcError, OSError) as error:
                if not broken:
                    log.warning("etcd watch broke", extra={"prefix": prefix, "error": repr(error)})
                broken = True
                metrics.etcd_connected.set(0)
                await asyncio.sleep(RETRY_S)

    async def _follow(
        self,
        prefix: str,
        revision: int,
        known: dict[str, bytes],
        on_change: Callable[[Mapping[str, bytes]], None],
        wait_s: float,
    ) -> None:
        """Apply events to `known` until `wait_s` have passed."""
        watch = await self.call(self._client.watch_prefix(prefix.encode(), start_revision=revision))
        deadline = time.monotonic() + wait_s
        events = aiter(watch)
        try:
            while (left_s := deadline - time.monotonic()) > 0:
                try:
                    event = await asyncio.wait_for(anext(events), left_s)
                except TimeoutError:
                    return
                key = event.kv.key.decode()[len(prefix) :]
                if event.kind == aetcd.rtypes.EventKind.DELETE:
                    known.pop(key, None)
                else:
                    known[key] = bytes(event.kv.value)
                on_change(dict(known))
        finally:
            with contextlib.suppress(Exception):  # the stream may be gone already
                await asyncio.wait_for(watch.cancel(), 1)

    async def grant(self, ttl_s: int) -> Any:
        """A new lease of the client library."""
        return await self.call(self._client.lease(ttl_s))

    async def renew(self, lease: Any) -> bool:
        """Keep a lease alive; False when it has expired."""
        reply = await self.call(lease.refresh())
        if reply is None:
            raise EtcdUnavailable(f"etcd {self.address}: no reply to a keep-alive")
        return int(reply.TTL) > 0

    async def put_leased(self, key: str, value: bytes, lease: Any) -> None:
        """Write a key that goes with its lease."""
        await self.call(self._client.put(key.encode(), value, lease=lease))

    async def put_new_leased(self, key: str, value: bytes, lease: Any) -> bool:
        """Write a key under a lease when nobody holds it; False when somebody does."""
        compare = self._client.transactions
        name = key.encode()
        done, _ = await self.call(
            self._client.transaction(
                [compare.create(name) == 0], [compare.put(name, value, lease=lease)], []
            )
        )
        return bool(done)

    async def elect(
        self,
        key: str,
        candidate: str,
        ttl_s: int,
        on_leading: Callable[[], Awaitable[None]],
    ) -> None:
        """Run `on_leading` while this candidate holds `key`; cancel it when the lease is lost.

        Never returns, unless `on_leading` raises.
        """
        while True:
            try:
                lease = await self.grant(ttl_s)
                if await self.put_new_leased(key, candidate.encode(), lease):
                    await self._lead(lease, ttl_s, on_leading)
                else:
                    await self.call(lease.revoke())
            except EtcdUnavailable as error:
                log.warning("election waits for etcd", extra={"key": key, "error": str(error)})
            await asyncio.sleep(ttl_s / 3)

    async def _lead(
        self, lease: Any, ttl_s: int, on_leading: Callable[[], Awaitable[None]]
    ) -> None:
        leading = asyncio.ensure_future(on_leading())
        valid_until = time.monotonic() + ttl_s
        try:
            while time.monotonic() < valid_until:
                done, _ = await asyncio.wait([leading], timeout=ttl_s / 3)
                if done:
                    leading.result()
                    return
                with contextlib.suppress(EtcdUnavailable):
                    asked = time.monotonic()
                    if not await self.renew(lease):
                        return
                    valid_until = asked + ttl_s
        finally:
            leading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await leading
            with contextlib.suppress(EtcdUnavailable):
                await self.call(lease.revoke())


class Registration:
    """A key kept under a lease: written again when the lease was lost, gone when withdrawn."""

    def __init__(self, etcd: Etcd, key: str, value: Callable[[], bytes], ttl_s: int) -> None:
        self._etcd = etcd
        self._key = key
        self._value = value
        self._ttl_s = ttl_s
        self._lease: Any = None
        self._wanted = True
        self._written: bytes | None = None
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()  # a withdrawal must not cross a write that is under way

    async def run(self) -> None:
        """Keep the key alive; never returns."""
        while True:
            self._wake.clear()
            try:
                async with self._turn:
                    await self._step()
                pause_s = self._ttl_s / 3
            except EtcdUnavailable as error:
                log.warning(
                    "registration waits for etcd", extra={"key": self._key, "error": str(error)}
                )
                pause_s = RETRY_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause_s)

    async def _step(self) -> None:
        if not self._wanted:
            return
        if self._lease is not None and not await self._etcd.renew(self._lease):
            self._lease = None
        value = self._value()
        if self._lease is None:
            self._lease = await self._etcd.grant(self._ttl_s)
            self._written = None
        if value != self._written:
            await self._etcd.put_leased(self._key, value, self._lease)
            self._written = value

    def update(self) -> None:
        """Write the value again soon, also after a withdrawal."""
        self._wanted = True
        self._wake.set()

    async def withdraw(self) -> None:
        """Remove the key now; it stays away until `update`."""
        self._wanted = False
        async with self._turn:
            lease, self._lease = self._lease, None
            if lease is not None:
                with contextlib.suppress(EtcdUnavailable):  # the lease runs out by itself
                    await self._etcd.call(lease.revoke())
