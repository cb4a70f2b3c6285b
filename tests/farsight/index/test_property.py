"""The index against an oracle, under every fault that a network and a fleet can produce."""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from farsight.index.match import Confidence
from farsight.index.source import IN_FLIGHT_GRACE_S
from farsight.index.state import KvIndex
from farsight.pb.events_pb2 import KvDelta, KvSnapshot, Load
from tests.farsight.index.loading import finish, step
from tests.farsight.index.messages import CLEAR, REMOVE, STORE, TIERS, Cache, change

NAMES = st.sampled_from(["a", "b", "c"])
KEYS = st.lists(st.integers(1, 12), min_size=1, max_size=5)
ANY = st.integers(0, 10_000)


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


class Fleet(RuleBasedStateMachine):
    """Three endpoints that change, a network that loses and reorders, an index that restarts."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.caches = {name: Cache(name) for name in "abc"}
        self.network: list[KvDelta | Load] = []
        self.stored: dict[str, KvSnapshot] = {}
        self.loads: dict[str, Coroutine[Any, Any, bool]] = {}
        self.wanted: set[str] = set()
        self.told: list[Told] = []
        self.loaded_empty: set[tuple[str, int]] = set()
        self.new_index()

    def new_index(self) -> None:
        """The process that holds the index begins anew."""
        for load in self.loads.values():
            load.close()
        self.loads.clear()
        self.wanted.clear()
        self.told.clear()
        self.loaded_empty.clear()
        self.index = KvIndex(lambda: self.now_s, self.wanted.add)

    @rule(name=NAMES, tier=st.sampled_from(TIERS), stored=KEYS, removed=KEYS)
    def change_cache(self, name: str, tier: Any, stored: list[int], removed: list[int]) -> None:
        """An engine removes and stores blocks, also the same ones."""
        changes = [change(REMOVE, removed, tier), change(STORE, stored, tier)]
        self.network.append(self.caches[name].tell(*changes))

    @rule(name=NAMES, tier=st.sampled_from(TIERS))
    def clear_cache(self, name: str, tier: Any) -> None:
        """An engine empties a tier."""
        self.network.append(self.caches[name].tell(change(CLEAR, tier=tier)))

    @rule(name=NAMES)
    def restart_engine(self, name: str) -> None:
        """A life ends; another begins empty."""
        self.caches[name].restart()

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

    @rule(passed_s=st.sampled_from([0.1, 0.4, 5.0]))
    def wait(self, passed_s: float) -> None:
        """Time passes."""
        self.now_s += passed_s

    @rule(limit_s=st.sampled_from([1.0, 60.0]))
    def forget(self, limit_s: float) -> None:
        """Silent endpoints are dropped."""
        gone = self.index.forget_silent(limit_s)
        self.told = [told for told in self.told if told.endpoint_id not in gone]

    @rule()
    def restart_index(self) -> None:
        """Everything that was known is lost."""
        self.new_index()

    def held(self, endpoint_id: str) -> dict[int, frozenset[int]]:
        """What the index holds for an endpoint."""
        return {tier: frozenset(keys.tolist()) for tier, keys in self.index.dump(endpoint_id)[2]}

    @invariant()
    def exact_is_true(self) -> None:
        """An endpoint that is called EXACT holds what the oracle held at that delta.

        And it is not behind: no later delta came, none was announced a while ago, and one that
        has applied nothing was met at the very beginning of a life, by a heartbeat or a snapshot.
        """
        if not self.loads:
            self.index.check_integrity()
        for source in self.index.report():
            if source.confidence is Confidence.EXACT:
                oracle = self.caches[source.endpoint_id].history[source.epoch, source.applied_seq]
                assert self.held(source.endpoint_id) == oracle, source
                life = [t for t in self.told if t.life == (source.endpoint_id, source.epoch)]
                overdue = self.now_s - 2 * IN_FLIGHT_GRACE_S
                known = [t.seq for t in life if t.is_delta or t.at_s < overdue]
                assert source.applied_seq >= max(known, default=0), source
                is_met_empty = life[0].seq == 0 or life[0].life in self.loaded_empty
                assert source.applied_seq > 0 or is_met_empty, source

    def teardown(self) -> None:
        """After quiet, all endpoints are EXACT and hold what their engines hold."""
        self.network.clear()
        for load in self.loads.values():
            load.close()
        for cache in self.caches.values():
            self.now_s += 1.0
            self.index.heard(cache.heartbeat())
            self.now_s += 1.0
            self.index.heard(cache.heartbeat())
            if cache.endpoint_id in self.wanted:
                assert finish(self.index.replace(cache.snapshot()))
            source = next(s for s in self.index.report() if s.endpoint_id == cache.endpoint_id)
            assert source.confidence is Confidence.EXACT, source
            assert (source.epoch, source.applied_seq) == (cache.epoch, cache.seq)
            assert self.held(cache.endpoint_id) == cache.held


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
