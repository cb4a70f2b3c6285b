"""Target `deltas`: what an index takes from NATS, and what it is asked meanwhile.

A step is a message (KvDelta, Load, KvSnapshot) or something that happens: time passes, an endpoint
is doubted or dropped, somebody matches or dumps. Snapshots load while later steps go on.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from random import Random
from typing import Any

from google.protobuf.message import DecodeError, Message

from farsight.errors import InvalidField
from farsight.index.state import KvIndex
from farsight.index.upkeep import IndexUpkeep
from farsight.keys import unpack
from farsight.pb.events_pb2 import KvDelta, KvGroup, KvSnapshot, Load
from tests.farsight.index.messages import CLEAR, DEVICE, HOST, REMOVE, STORAGE, STORE, Cache, change
from tests.fuzz.mutation import bytes_changed
from tests.fuzz.program import Step, decode, encode
from tests.fuzz.target import Target
from tests.fuzz.values import message_changed

DELTA, LOAD, SNAPSHOT, TIME, FORGET, DOUBT, DROP, MATCH, DUMP, CHECK, TEND = range(11)
MESSAGES: dict[int, type[Message]] = {DELTA: KvDelta, LOAD: Load, SNAPSHOT: KvSnapshot}
SETTLE_LIMIT_S = 20.0
SMALL_BUDGET_BYTES = 1 << 20
BUDGET_BYTES = 64 << 20


class Session:
    """One index through one program."""

    def __init__(self, budget_bytes: int) -> None:
        self._now_s = 1000.0
        self._index = KvIndex(lambda: self._now_s, lambda endpoint_id: None, budget_bytes)
        self._loading: list[asyncio.Task[object]] = []
        self._actions: dict[int, Callable[[bytes], object]] = {
            DELTA: lambda data: self._index.apply(KvDelta.FromString(data)),
            LOAD: lambda data: self._index.heard(Load.FromString(data)),
            SNAPSHOT: lambda data: self._begin(self._index.replace(KvSnapshot.FromString(data))),
            TIME: self._pass_time,
            FORGET: lambda data: self._index.forget_silent(len(data)),
            DOUBT: lambda data: self._index.doubt(_name(data), len(data)),
            DROP: lambda data: self._index.drop(_name(data)),
            MATCH: lambda data: self._index.match(unpack(data, "keys"), ()),
            DUMP: lambda data: self._begin(self._index.dump(_name(data))),
            CHECK: lambda data: self._check(),
        }

    async def play(self, steps: list[Step]) -> None:
        """All steps, then until nothing is loading any more."""
        tending: asyncio.Task[Any] | None = None
        for step in steps:
            if step.kind == TEND and tending is None:
                tending = asyncio.create_task(IndexUpkeep(self._index).run())
            elif step.kind in self._actions:
                with suppress(DecodeError, InvalidField):
                    self._actions[step.kind](step.payload)
            await asyncio.sleep(0)
        try:
            async with asyncio.timeout(SETTLE_LIMIT_S):
                for loading in self._loading:
                    with suppress(InvalidField):
                        await loading
        finally:
            if tending is not None:
                tending.cancel()
                with suppress(asyncio.CancelledError):
                    await tending
        self._check()

    def _begin(self, work: Coroutine[Any, Any, object]) -> None:
        self._loading.append(asyncio.create_task(work))

    def _pass_time(self, data: bytes) -> None:
        self._now_s += int.from_bytes(data[:2], "little") / 100

    def _check(self) -> None:
        if not self._index.paused:
            self._index.check_integrity()
            self._index.report()


def _name(data: bytes) -> str:
    return data.decode("latin-1")


_loop = asyncio.Runner()


def run(data: bytes) -> None:
    """Nothing leaves but what is declared, and the index stays consistent."""
    steps = decode(data)
    is_small = bool(steps) and len(steps[0].payload) % 2 == 1
    _loop.run(Session(SMALL_BUDGET_BYTES if is_small else BUDGET_BYTES).play(steps))


def mutate(step: Step, rng: Random) -> bytes:
    """A field of the message is another one."""
    kind = MESSAGES.get(step.kind)
    if kind is None:
        return bytes_changed(step.payload, rng)
    return message_changed(step.payload, kind, rng)


def _message(message: Message) -> Step:
    kind = next(kind for kind, known in MESSAGES.items() if isinstance(message, known))
    return Step(kind, message.SerializeToString())


def _life() -> bytes:
    """Two endpoints, every tier, a gap that a snapshot closes, a restart."""
    a, b = Cache("a"), Cache("b")
    first = a.tell(change(STORE, range(1, 40)), change(STORE, range(1, 9), HOST))
    lost = a.tell(change(REMOVE, [3, 4]), change(STORE, [50, 51], STORAGE))
    late = a.tell(change(STORE, range(60, 70)))
    steps = [
        _message(first),
        _message(a.heartbeat()),
        _message(b.store(1, 2, 3)),
        _message(b.heartbeat()),
        _message(late),
        _message(a.snapshot()),
        Step(MATCH, first.changes[0].keys),
        _message(lost),
        Step(CHECK),
        Step(DOUBT, b"a"),
        Step(TIME, b"\x90\x01"),
        _message(a.snapshot()),
        Step(DUMP, b"a"),
        _message(a.tell(change(CLEAR), change(STORE, [7]))),
    ]
    a.restart()
    steps += [_message(a.heartbeat()), _message(a.store(9)), Step(DROP, b"b"), Step(FORGET)]
    return encode(steps)


def _grouped() -> bytes:
    """KV groups with their own rules, positions, a storage pool, upkeep in the background."""
    cache = Cache("c", epoch=3)
    delta = cache.tell(change(STORE, range(1, 33)), change(STORE, range(100, 108), STORAGE))
    delta.changes[0].spans.extend([0, 20, 4, 12])
    delta.changes.append(change(STORE, range(5, 9), DEVICE))
    delta.changes[2].group = 1
    beat = cache.heartbeat()
    beat.storage_pool = "nfs"
    beat.kv_groups.append(KvGroup(group=1, rule=KvGroup.RULE_SUFFIX, window_blocks=2))
    beat.kv_groups.append(KvGroup(group=2, rule=KvGroup.RULE_CHECKPOINT))
    snapshot = cache.snapshot()
    snapshot.tiers[0].position_counts.extend([len(snapshot.tiers[0].keys) // 8])
    steps = [
        Step(TEND),
        _message(beat),
        _message(delta),
        _message(snapshot),
        Step(MATCH, b"\1" * 8),
    ]
    return encode([*steps, Step(CHECK), Step(DUMP, b"c"), _message(beat)])


TARGET = Target(
    name="deltas",
    seeds=[_life(), _grouped()],
    run=run,
    mutate=mutate,
)
