"""The index against an oracle, under every fault that a network and a fleet can produce."""

from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from farsight.index.match import Confidence
from farsight.index.source import NO_LIMIT
from farsight.index.standings import IN_FLIGHT_GRACE_S
from farsight.index.state import KvIndex, SourceReport
from farsight.index.trimming import LIFT_AFTER_S, Trimmer
from farsight.pb.events_pb2 import KvDelta, KvSnapshot, Load
from tests.farsight.index.loading import finish, step
from tests.farsight.index.messages import (
    CHECKPOINT,
    CLEAR,
    REMOVE,
    STORAGE,
    STORE,
    SUFFIX,
    TIERS,
    Cache,
    Places,
    change,
    key_array,
    rule_of,
)
from tests.farsight.index.oracle import places_of, prefixes

NAMES = st.sampled_from(["a", "b", "c"])
LAST_KEY = 12
KEYS = st.lists(st.integers(1, LAST_KEY), min_size=1, max_size=5, unique=True)
GROUPS = st.sampled_from([0, 0, 1, 2])
POOLS = st.sampled_from(["", "p", "q"])
ANY = st.integers(0, 10_000)
PROMPT = list(range(1, LAST_KEY + 1))
POSITION_OF = {key: key - 1 for key in PROMPT}
QUIET_ROUNDS = int(LIFT_AFTER_S) + 10


@dataclass(frozen=True, slots=True)
class Told:
    """A message that reached the index."""

    endpoint_id: str
    epoch: int
    seq: int
    is_delta: bool
    at_s: float

    @property
    def life(self) -> tuple[str, int]:
        """Whose, and of which life."""
        return self.endpoint_id, self.epoch


def fleet() -> dict[str, Cache]:
    """Two endpoints over one storage, one of several KV groups; one more, without a full group."""
    window = [rule_of(1, SUFFIX, 3)]
    caches = [
        Cache("a", storage_pool="p"),
        Cache("b", storage_pool="p", groups=[*window, rule_of(2, CHECKPOINT)]),
        Cache("c", groups=window, has_prefix_group=False),
    ]
    for cache in caches:
        cache.position_of = POSITION_OF
    return {cache.endpoint_id: cache for cache in caches}


class Fleet(RuleBasedStateMachine):
    """Three endpoints that change, a network that loses and reorders, an index that restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.caches = fleet()
        self.network: list[KvDelta | Load] = []
        self.stored: dict[str, KvSnapshot] = {}
        self.loads: dict[str, Coroutine[Any, Any, bool]] = {}
        self.pause: AbstractAsyncContextManager[None] | None = None
        self.wanted: set[str] = set()
        self.told: list[Told] = []
        self.loaded_empty: set[tuple[str, int]] = set()
        self.removed_of_pools: set[int] = set()
        self.new_index()

    def new_index(self) -> None:
        """The process that holds the index begins anew."""
        self.end_pause()
        for load in self.loads.values():
            load.close()
        self.loads.clear()
        self.wanted.clear()
        self.told.clear()
        self.loaded_empty.clear()
        self.index = KvIndex(lambda: self.now_s, self.wanted.add)

    @rule(
        name=NAMES,
        tier=st.sampled_from(TIERS),
        group=GROUPS,
        stored=KEYS,
        removed=KEYS,
        has_positions=st.booleans(),
    )
    def change_cache(
        self,
        name: str,
        tier: Any,
        group: int,
        stored: list[int],
        removed: list[int],
        has_positions: bool,
    ) -> None:
        """An engine removes and stores blocks, also the same ones."""
        spans = [n for key in stored for n in (POSITION_OF[key], 1)] if has_positions else []
        self.network.append(
            self.caches[name].tell(
                change(REMOVE, removed, tier, group), change(STORE, stored, tier, group, spans)
            )
        )
        if tier == STORAGE:
            self.removed_of_pools.update(removed)

    @rule(name=NAMES, keys=st.integers(1, LAST_KEY))
    def store_prefix(self, name: str, keys: int) -> None:
        """An engine stores the beginning of a prompt in all of its groups."""
        prompt = PROMPT[:keys]
        groups = {0, 1, 2} if name == "b" else {0, 1}
        changes = [change(STORE, prompt, group=group, spans=[0, keys]) for group in groups]
        self.network.append(self.caches[name].tell(*changes))

    @rule(name=NAMES, tier=st.sampled_from(TIERS))
    def clear_cache(self, name: str, tier: Any) -> None:
        """An engine empties a tier, and stores again."""
        changes = [change(STORE, [1, 2], tier), change(CLEAR, tier=tier), change(STORE, [3], tier)]
        self.network.append(self.caches[name].tell(*changes))

    @rule(name=NAMES)
    def restart_engine(self, name: str) -> None:
        """A life ends; another begins empty."""
        self.caches[name].restart()

    @rule(name=NAMES, pool=POOLS)
    def change_pool(self, name: str, pool: str) -> None:
        """An engine mounts other storage, which its next heartbeat tells."""
        self.caches[name].storage_pool = pool

    @rule(name=NAMES)
    def send_heartbeat(self, name: str) -> None:
        """A sidecar says how far it is."""
        self.network.append(self.caches[name].heartbeat())

    @rule(name=NAMES)
    def store_snapshot(self, name: str) -> None:
        """A sidecar stores its mirror."""
        self.stored[name] = self.caches[name].snapshot()

    def deliver(self, message: KvDelta | Load) -> None:
        """A message reaches the index."""
        if isinstance(message, KvDelta):
            self.index.apply(message)
            seq = message.seq
        else:
            self.index.heard(message)
            seq = message.kv_seq
        is_delta = isinstance(message, KvDelta)
        self.told.append(Told(message.endpoint_id, message.epoch, seq, is_delta, self.now_s))

    @precondition(lambda self: self.network)
    @rule(count=st.integers(1, 8))
    def deliver_in_order(self, count: int) -> None:
        """The oldest messages arrive."""
        for _ in range(min(count, len(self.network))):
            self.deliver(self.network.pop(0))

    @precondition(lambda self: self.network)
    @rule(which=ANY, again=st.booleans())
    def deliver_any(self, which: int, again: bool) -> None:
        """Any message arrives, and stays to arrive once more or not."""
        at = which % len(self.network)
        self.deliver(self.network[at] if again else self.network.pop(at))

    @precondition(lambda self: self.network)
    @rule(which=ANY)
    def drop(self, which: int) -> None:
        """A message is lost."""
        del self.network[which % len(self.network)]

    @precondition(lambda self: self.stored)
    @rule(which=ANY)
    def begin_load(self, which: int) -> None:
        """The index begins to load a stored snapshot, of any age."""
        name = sorted(self.stored)[which % len(self.stored)]
        if name not in self.loads:
            self.loads[name] = self.index.replace(self.stored[name])
            if self.stored[name].seq == 0:
                self.loaded_empty.add((name, self.stored[name].epoch))

    @precondition(lambda self: self.loads)
    @rule(which=ANY)
    def continue_load(self, which: int) -> None:
        """A load goes on to its next pause."""
        name = sorted(self.loads)[which % len(self.loads)]
        if step(self.loads[name]) is not None:
            del self.loads[name]

    @precondition(lambda self: self.pause is None)
    @rule()
    def begin_pause(self) -> None:
        """A thread begins to read the tables."""
        self.pause = self.index.parts.gate.closed()
        finish(self.pause.__aenter__())

    @precondition(lambda self: self.pause is not None)
    @rule()
    def end_pause(self) -> None:
        """It has read them; what waited is applied."""
        if self.pause is not None:
            finish(self.pause.__aexit__(None, None, None))
            self.pause = None
            finish(self.index.tend())

    @rule(name=NAMES, last=st.sampled_from([-1, 0, 3, 254]))
    def trim(self, name: str, last: int) -> None:
        """Memory is short: the endpoint keeps its first blocks only."""
        source = self.index.parts.sources.find(name)
        if source is not None and last < source.limit:
            Trimmer(self.index.parts).restrict(source, last)

    @rule(name=NAMES, age=st.integers(0, 1))
    def doubt(self, name: str, age: int) -> None:
        """A router has found the index wrong about this life, or the one before."""
        self.index.doubt(name, self.caches[name].epoch - age)

    @rule(passed_s=st.sampled_from([0.1, 0.4, 5.0]))
    def wait(self, passed_s: float) -> None:
        """Time passes."""
        self.now_s += passed_s

    @rule(limit_s=st.sampled_from([1.0, 60.0]))
    def forget(self, limit_s: float) -> None:
        """Silent endpoints are dropped."""
        gone = self.index.forget_silent(limit_s)
        self.told = [told for told in self.told if told.endpoint_id not in gone]

    @rule(name=NAMES)
    def let_go(self, name: str) -> None:
        """Another replica holds the endpoint."""
        self.index.drop(name)
        self.told = [told for told in self.told if told.endpoint_id != name]

    @rule()
    def restart_index(self) -> None:
        """Everything that was known is lost."""
        self.new_index()

    @rule(prompt=st.lists(st.integers(1, LAST_KEY), max_size=20, unique=True))
    def ask(self, prompt: list[int]) -> None:
        """A match is what the rules of each endpoint's groups allow, its pool included."""
        found = self.index.match(key_array(*prompt), [])
        columns = found.device_blocks, found.host_blocks, found.storage_blocks
        for i, name in enumerate(found.endpoint_ids):
            source = self.index.parts.sources.named(name)
            assert [int(c[i]) for c in columns] == prefixes(self.index, source, prompt), source

    @invariant()
    def prompts_are_matched(self) -> None:
        """The same for the prompt that is stored most."""
        self.ask(PROMPT)

    def held(self, endpoint_id: str) -> Places:
        """What the index holds for an endpoint."""
        return places_of(self.index, self.index.parts.sources.named(endpoint_id).slot)

    @invariant()
    def tables_are_sound(self) -> None:
        """No count is wrong, and nobody has a block past its limit when everything is swept."""
        self.index.check_integrity()
        parts = self.index.parts
        if not parts.slots.is_dirty:
            for source in parts.sources:
                for table in parts.tables.all:
                    _, buckets = table.contents_of(source.slot)
                    assert source.limit >= NO_LIMIT or (buckets <= source.limit).all()

    @invariant()
    def exact_is_true(self) -> None:
        """An endpoint that is called EXACT holds what the oracle held at that delta.

        And it is not behind: no later delta came, none was announced a while ago, and one that
        has applied nothing was met at the very beginning of a life, by a heartbeat, a snapshot,
        or the first delta in a pause.
        """
        for source in self.index.report():
            if source.confidence is Confidence.EXACT:
                self.check_blocks(source)
                life = [t for t in self.told if t.life == (source.endpoint_id, source.epoch)]
                overdue = self.now_s - 2 * IN_FLIGHT_GRACE_S
                known = [t.seq for t in life if t.is_delta or t.at_s < overdue]
                if self.pause is None:
                    assert source.applied_seq >= max(known, default=0), source
                is_met_empty = life[0].seq == 0 or life[0].life in self.loaded_empty
                waits = any(t.is_delta and t.seq == 1 for t in life)
                assert source.applied_seq > 0 or is_met_empty or waits, source

    def check_blocks(self, source: SourceReport) -> None:
        """Equal on device and host; on storage, too, but for what others of a pool removed."""
        oracle = self.caches[source.endpoint_id].history[source.epoch, source.applied_seq]
        held = self.held(source.endpoint_id)
        for tier in TIERS:
            for group in (0, 1, 2):
                real = oracle.get((tier, group), frozenset())
                known = held.get((tier, group), frozenset())
                if tier == STORAGE and source.storage_pool:
                    assert known <= real, source
                    assert real - known <= self.removed_of_pools, source
                else:
                    assert known == real, source

    def teardown(self) -> None:
        """After quiet, all endpoints are EXACT and hold what their engines hold."""
        self.end_pause()
        self.network.clear()
        for load in self.loads.values():
            load.close()
        for _ in range(QUIET_ROUNDS):
            self.now_s += 1.0
            for cache in self.caches.values():
                self.index.heard(cache.heartbeat())
                if cache.endpoint_id in self.wanted:
                    self.wanted.discard(cache.endpoint_id)
                    finish(self.index.replace(cache.snapshot()))
        for source in self.index.report():
            cache = self.caches[source.endpoint_id]
            assert source.confidence is Confidence.EXACT, source
            assert (source.epoch, source.applied_seq) == (cache.epoch, cache.seq)
            self.check_blocks(source)
        assert len(self.index.report()) == len(self.caches)
        assert not self.index.parts.slots.is_dirty


TestFleet = pytest.mark.timeout(120)(Fleet.TestCase)
TestFleet.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
