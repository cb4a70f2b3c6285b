"""An indexer that is killed while deltas flow: when is it EXACT again, and is it ever wrong?

`python -m tests.services.indexer.kill --blocks 1000000 --rate 50000` runs it once at full size.

Each scripted endpoint holds a chain of blocks whose end moves out and back, one delta at a time, so
that what it held after delta `seq` follows from `seq` alone. An EXACT answer must be one of the
depths that the endpoint had within the last seconds: those that an index may be behind before its
heartbeats or its grace run out.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc.aio
import numpy as np

from farsight import subjects
from farsight.bus import Bus
from farsight.channel import connect
from farsight.index.standings import HEARTBEAT_LIMIT_S, IN_FLIGHT_GRACE_S
from farsight.keys import Keys, pack
from farsight.local.infra import etcd_command
from farsight.pb import index_pb2_grpc, types_pb2
from farsight.pb.events_pb2 import KvChange, KvDelta, KvSnapshot, KvSnapshotReply, Load, TierKeys
from farsight.pb.index_pb2 import MatchRequest
from tests.conftest import free_port, launch, launch_nats, stop, wait_for_port
from tests.services.processes import process

if TYPE_CHECKING:
    from farsight.pb.index_pb2_grpc import IndexAsyncStub

DELTA_BLOCKS = 64
SWING = 200  # deltas from one end of the movement to the other
HEARTBEAT_S = 0.25
TICK_S = 0.02
# How far an EXACT answer may lie behind: heartbeats, a late delta, and their ways.
BEHIND_S = HEARTBEAT_LIMIT_S + IN_FLIGHT_GRACE_S + 0.7
EXACT_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """Blocks over all endpoints, and blocks a second that change."""

    endpoints: int
    blocks: int
    blocks_per_s: int
    before_s: float
    """Between the first EXACT and the kill."""
    after_s: float
    """Between EXACT again and the end."""


@dataclass(slots=True)
class Outcome:
    """What was seen."""

    exact_again_s: float = 0.0
    """From the start of the new process to the first answer in which every endpoint is EXACT."""
    exact_answers: int = 0
    other_answers: int = 0
    wrong: list[str] = field(default_factory=list)
    deltas: int = 0


class Endpoint:
    """A scripted sidecar and its engine."""

    def __init__(self, number: int, blocks: int, random: np.random.Generator) -> None:
        self.endpoint_id = f"pod-{number}"
        longest = blocks + SWING * DELTA_BLOCKS
        self.chain: Keys = random.integers(1, 2**64, longest, np.uint64, endpoint=False)
        self._blocks = blocks
        self.seq = 0
        self._sent: deque[tuple[float, int]] = deque([(0.0, 0)])

    def depth(self, seq: int) -> int:
        """Blocks of the chain that are held after delta `seq`; the first delta stores the base."""
        at = (seq - 1) % (2 * SWING)
        return self._blocks + DELTA_BLOCKS * min(at, 2 * SWING - at) if seq else 0

    def next_delta(self) -> bytes:
        """The end of the chain moves."""
        before = self.depth(self.seq)
        self.seq += 1
        after = self.depth(self.seq)
        store = after > before
        change = KvChange(
            action=KvChange.ACTION_STORE if store else KvChange.ACTION_REMOVE,
            tier=types_pb2.TIER_DEVICE,
            keys=pack(self.chain[min(before, after) : max(before, after)]),
            spans=[before, after - before] if store else (),
        )
        now_s = time.monotonic()
        self._sent.append((now_s, self.seq))
        while len(self._sent) > 1 and self._sent[1][0] < now_s - 2 * BEHIND_S:
            self._sent.popleft()
        delta = KvDelta(endpoint_id=self.endpoint_id, epoch=1, seq=self.seq, changes=[change])
        return delta.SerializeToString()

    def depths_since(self, at_s: float) -> set[int]:
        """Every depth from a moment on."""
        first = max((seq for sent_s, seq in self._sent if sent_s <= at_s), default=0)
        return {self.depth(seq) for seq in range(first, self.seq + 1)}

    def heartbeat(self) -> bytes:
        """The load message of this moment."""
        return Load(
            endpoint_id=self.endpoint_id,
            epoch=1,
            kv_seq=self.seq,
            kv_confidence=types_pb2.CONFIDENCE_EXACT,
            kv_blocks_held=self.depth(self.seq),
        ).SerializeToString()

    def snapshot(self) -> KvSnapshot:
        """Everything, after the last delta."""
        held = self.depth(self.seq)
        keys = TierKeys(
            tier=types_pb2.TIER_DEVICE, keys=pack(self.chain[:held]), position_counts=[1] * held
        )
        return KvSnapshot(
            endpoint_id=self.endpoint_id, epoch=1, seq=self.seq, tiers=[keys], block_count=held
        )


class Fleet:
    """Endpoints that tell NATS about themselves."""

    def __init__(self, bus: Bus, sizes: Sizes) -> None:
        random = np.random.default_rng(4)
        each = sizes.blocks // sizes.endpoints
        self.endpoints = [Endpoint(i, each, random) for i in range(sizes.endpoints)]
        self._bus = bus
        self._per_s = sizes.blocks_per_s / DELTA_BLOCKS

    @property
    def deltas(self) -> int:
        """Sent so far."""
        return sum(endpoint.seq for endpoint in self.endpoints)

    async def start(self) -> None:
        """The caches are filled before anybody listens."""
        for endpoint in self.endpoints:
            endpoint.next_delta()
            self._bus.serve(subjects.snapshot(endpoint.endpoint_id), self._answer(endpoint))

    def _answer(self, endpoint: Endpoint) -> Callable[[bytes], Awaitable[bytes]]:
        async def answer(_: bytes) -> bytes:
            snapshot = endpoint.snapshot()
            name = subjects.token(endpoint.endpoint_id)
            await self._bus.put_object(subjects.KV_BUCKET, name, snapshot.SerializeToString())
            return KvSnapshotReply(object_name=name, epoch=1, seq=snapshot.seq).SerializeToString()

        return answer

    async def change(self) -> None:
        """Deltas at the asked rate for ever."""
        began_s, sent = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - began_s) * self._per_s)
            for number in range(sent, due):
                endpoint = self.endpoints[number % len(self.endpoints)]
                subject = subjects.delta(endpoint.endpoint_id)
                await self._bus.publish(subject, endpoint.next_delta())
            sent = due
            await asyncio.sleep(TICK_S)

    async def beat(self) -> None:
        """Heartbeats for ever."""
        while True:
            for endpoint in self.endpoints:
                await self._bus.publish(subjects.load(endpoint.endpoint_id), endpoint.heartbeat())
            await asyncio.sleep(HEARTBEAT_S)


class Checker:
    """Asks for every endpoint's chain again and again, and checks each EXACT answer."""

    def __init__(self, fleet: Fleet, stub: "IndexAsyncStub", outcome: Outcome) -> None:
        self._fleet = fleet
        self._stub = stub
        self._outcome = outcome
        self._exact: set[str] = set()
        self.all_exact = asyncio.Event()

    def forget(self) -> None:
        """From now on, EXACT counts anew."""
        self._exact.clear()
        self.all_exact.clear()

    async def run(self) -> None:
        """For ever."""
        while True:
            for endpoint in self._fleet.endpoints:
                try:
                    await self._check(endpoint)
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.02)  # it is down
                await asyncio.sleep(0.001)

    async def _check(self, endpoint: Endpoint) -> None:
        asked_s = time.monotonic()
        request = MatchRequest(keys=pack(endpoint.chain), endpoint_ids=[endpoint.endpoint_id])
        reply = await self._stub.Match(request, timeout=5)
        if list(reply.confidence) != [types_pb2.CONFIDENCE_EXACT]:
            self._outcome.other_answers += 1
            self._exact.discard(endpoint.endpoint_id)
            return
        self._outcome.exact_answers += 1
        found, possible = reply.device_blocks[0], endpoint.depths_since(asked_s - BEHIND_S)
        if found not in possible:
            seq = endpoint.seq
            self._outcome.wrong.append(
                f"{endpoint.endpoint_id}: {found} blocks, not {min(possible)} to {max(possible)}, "
                f"at delta {seq}"
            )
        self._exact.add(endpoint.endpoint_id)
        if len(self._exact) == len(self._fleet.endpoints):
            self.all_exact.set()


async def killed(sizes: Sizes, etcd_url: str, nats_url: str) -> Outcome:
    """Start an indexer, kill it with SIGKILL under load, start it again; what was seen."""
    outcome = Outcome()
    listen = f"127.0.0.1:{free_port()}"
    flags = (f"--etcd={etcd_url}", f"--nats={nats_url}", f"--listen={listen}", "--replica-id=k1")
    async with AsyncExitStack() as stack:
        bus = Bus(nats_url)
        await bus.run()
        stack.push_async_callback(bus.close)
        fleet = Fleet(bus, sizes)
        await fleet.start()
        channel = await stack.enter_async_context(connect(listen))
        checker = Checker(fleet, index_pb2_grpc.IndexStub(channel), outcome)
        await stack.enter_async_context(running(fleet.change(), fleet.beat(), checker.run()))
        async with process("indexer", *flags) as first:
            await asyncio.wait_for(checker.all_exact.wait(), EXACT_LIMIT_S)
            await asyncio.sleep(sizes.before_s)
            first.kill()
            await first.wait()
        checker.forget()
        started_s = time.monotonic()
        async with process("indexer", *flags):
            await asyncio.wait_for(checker.all_exact.wait(), EXACT_LIMIT_S)
            outcome.exact_again_s = time.monotonic() - started_s
            await asyncio.sleep(sizes.after_s)
    outcome.deltas = fleet.deltas
    return outcome


@asynccontextmanager
async def running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Background work until the block ends."""
    async with asyncio.TaskGroup() as tasks:
        owned = [tasks.create_task(one) for one in work]
        yield
        for task in owned:
            task.cancel()


def main() -> None:
    """Once, at the size of the flags."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--blocks", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=50_000, help="blocks a second")
    parser.add_argument("--endpoints", type=int, default=64)
    given = parser.parse_args()
    sizes = Sizes(given.endpoints, given.blocks, given.rate, before_s=5, after_s=5)
    etcd_port, nats_port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        etcd = launch(etcd_command(Path(folder) / "etcd", etcd_port, free_port()))
        nats = launch_nats(nats_port, Path(folder) / "nats")
        try:
            wait_for_port(etcd_port, etcd)
            wait_for_port(nats_port, nats)
            urls = (f"127.0.0.1:{etcd_port}", f"nats://127.0.0.1:{nats_port}")
            outcome = asyncio.run(killed(sizes, *urls))
        finally:
            stop(nats)
            stop(etcd)
    sys.stdout.write(
        f"EXACT {outcome.exact_again_s:.2f} s after the start, {outcome.deltas} deltas, "
        f"{outcome.exact_answers} EXACT answers, {outcome.other_answers} others, "
        f"{len(outcome.wrong)} wrong\n"
    )


if __name__ == "__main__":
    main()
