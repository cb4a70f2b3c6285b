"""The deltas of pods, against what their engines hold."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from farsight.keys import CANONICAL_BLOCK_TOKENS, Keys, chain
from farsight.pb.events_pb2 import KvChange, KvDelta, KvSnapshot
from sim.engine.engines import Engines
from sim.engine.layout import DEVICE, STORAGE
from sim.engine.spec import EngineSpec, TierSpec
from sim.kv_stream import KvStream
from sim.pods import Pods
from sim.tokens import Piece, tokens_of
from tests.sim.known_blocks import held
from tests.sim.small_fleets import HOST, engine

DELAY_S = 0.1


class Mirror:
    """What somebody holds to be true who hears all deltas."""

    def __init__(self) -> None:
        self.seq = 0
        self.keys: dict[int, set[int]] = {1: set(), 2: set(), 3: set()}

    def hear(self, delta: KvDelta) -> None:
        """The next delta, which names each key of a tier once."""
        assert delta.seq == self.seq + 1
        self.seq = delta.seq
        named = set[tuple[int, int]]()
        for change in delta.changes:
            keys = np.frombuffer(change.keys, "<u8").tolist()
            fresh = {(int(change.tier), key) for key in keys}
            assert len(fresh - named) == len(keys) > 0
            named |= fresh
            if change.action == KvChange.ACTION_STORE:
                self.keys[change.tier].update(keys)
            else:
                self.keys[change.tier].difference_update(keys)

    def load(self, snapshot: KvSnapshot) -> None:
        """Begin anew from a snapshot."""
        self.seq = snapshot.seq
        self.keys = {1: set(), 2: set(), 3: set()}
        for tier in snapshot.tiers:
            self.keys[tier.tier] = set(np.frombuffer(tier.keys, "<u8").tolist())
        assert sum(map(len, self.keys.values())) == snapshot.block_count


class Fleet:
    """Engines that work on random prompts, their stream, and a mirror of each pod."""

    def __init__(self, specs: Sequence[EngineSpec], storage: TierSpec | None = None) -> None:
        self.engines = Engines(specs, storage)
        self.pods = Pods(specs, ())
        self.stream = KvStream(self.engines, self.pods, DELAY_S)
        self.mirrors = [Mirror() for _ in specs]
        self.rng = np.random.default_rng(1)
        self.now_s = 0.0

    def submit(self, pod: int, seed: int, tokens: int, output_tokens: int) -> None:
        """A request whose prompt is one piece."""
        keys: Keys = chain(
            self.pods.seed(""),
            tokens_of([Piece(seed, tokens), Piece(1 << 40, output_tokens)]),
            CANONICAL_BLOCK_TOKENS,
        )
        self.engines.submit(pod, keys, tokens, output_tokens, self.now_s)

    def work(self, requests: int) -> None:
        """Submit requests of a few prompts over some time."""
        for _ in range(requests):
            self.submit(
                int(self.rng.integers(len(self.pods))),
                int(self.rng.integers(1, 12)),
                int(self.rng.integers(20, 500)),
                int(self.rng.integers(1, 30)),
            )
            self.pass_time(float(self.rng.exponential(0.08)))

    def pass_time(self, seconds: float = math.inf) -> None:
        """Let the engines work; by default until they are idle and all has arrived."""
        self.now_s += seconds if seconds < math.inf else 1000.0
        while self.engines.advance(self.now_s) < self.now_s:
            ended = [e.request for e in self.engines.take_events() if e.kind == 1]
            self.engines.clear_events()
            for slot in ended:
                self.engines.release(slot)

    def hear(self) -> None:
        """Everybody hears what has arrived by now."""
        for pod, delta in self.stream.deltas(self.now_s):
            assert delta.endpoint_id == self.pods.ids[pod]
            assert delta.epoch == self.pods.epochs[pod]
            self.mirrors[pod].hear(delta)

    def assert_known(self) -> None:
        """Every mirror holds what its engine holds."""
        for pod, mirror in enumerate(self.mirrors):
            assert mirror.keys == held(self.engines, pod)
            assert mirror.seq == self.stream.seqs[pod]


SMALL = TierSpec(800, 1e-6, 1e-3)
FLEETS = {
    "device": ([engine(640), engine(640)], None),
    "blocks of 48": ([engine(720, 48, host=TierSpec(960, 1e-6))], None),
    "host": ([engine(640, host=TierSpec(1000, 1e-6)), engine(640)], None),
    "storage": ([engine(640, slowness=s, mounts_storage=True) for s in (1, 6)], SMALL),
    "all": ([engine(640, host=HOST, mounts_storage=True), engine(640, slowness=6)], SMALL),
}
fleets = pytest.mark.parametrize("name", FLEETS)


@fleets
@pytest.mark.parametrize("looks_every", [1, 7, 1000])
def test_all_deltas_together_say_what_the_engines_hold(name: str, looks_every: int) -> None:
    """However often somebody looks."""
    fleet = Fleet(*FLEETS[name])

    for _ in range(60 // min(looks_every, 60)):
        fleet.work(min(looks_every, 60))
        fleet.hear()
    fleet.pass_time()
    fleet.hear()

    fleet.assert_known()
    assert min(fleet.stream.seqs) > 0


@fleets
def test_a_snapshot_and_the_deltas_behind_it_say_the_same(name: str) -> None:
    """At any time, also in the middle of steps whose changes are not told yet."""
    fleet = Fleet(*FLEETS[name])

    for _ in range(15):
        fleet.work(4)
        fleet.hear()
        for pod, mirror in enumerate(fleet.mirrors):
            joined = Mirror()
            joined.load(fleet.stream.snapshot(pod))
            assert (joined.seq, joined.keys) == (mirror.seq, mirror.keys)
            fleet.mirrors[pod] = joined
    fleet.pass_time()
    fleet.hear()

    fleet.assert_known()


def test_a_block_that_left_the_storage_during_a_long_step_does_not_come_back_at_its_end() -> None:
    """The slow pod tells of its store when the fast one, which evicted it, has told of that."""
    specs = [engine(640, slowness=slowness, mounts_storage=True) for slowness in (100, 1)]
    fleet = Fleet(specs, TierSpec(400, 1e-6))
    fleet.submit(0, 1, 300, 1)
    fleet.pass_time(0.01)
    fleet.submit(1, 2, 390, 1)
    fleet.pass_time(1.0)
    fleet.hear()

    fleet.pass_time()
    fleet.hear()

    assert fleet.engines.held_keys(0).size > 0
    fleet.assert_known()


def test_a_change_arrives_after_its_step_and_the_delay() -> None:
    """vLLM tells of a step with its output; the way from there takes the delay."""
    fleet = Fleet([engine(640)])
    fleet.submit(0, 1, 320, 2)
    fleet.pass_time(0.001)
    step_ends_s = fleet.engines.next_s

    early = list(fleet.stream.deltas(math.nextafter(step_ends_s + DELAY_S, 0)))
    in_time = list(fleet.stream.deltas(step_ends_s + DELAY_S + 1e-9))

    assert early == []
    assert [pod for pod, _ in in_time] == [0]
    assert len(in_time[0][1].changes[0].keys) == 8 * 320 // 16


def test_what_came_and_went_before_anybody_looked_is_not_stored() -> None:
    """Of the changes between two looks only the last one of each key is told."""
    fleet = Fleet([engine(320)])
    for seed in range(1, 30):
        fleet.submit(0, seed, 300, 1)
        fleet.pass_time(1.0)

    (told,) = [delta for _, delta in fleet.stream.deltas(fleet.now_s + 1)]

    stored = [change for change in told.changes if change.action == KvChange.ACTION_STORE]
    assert [len(change.keys) for change in stored] == [8 * fleet.engines.held_keys(0).size]
    fleet.mirrors[0].hear(told)
    fleet.assert_known()


def test_a_new_process_begins_with_an_empty_cache_and_the_storage_as_it_is() -> None:
    """What the old process did not get round to telling is never told."""
    fleet = Fleet([engine(640, mounts_storage=True)] * 2, SMALL)
    fleet.work(20)
    fleet.hear()
    fleet.work(3)
    before = fleet.stream.seqs[1]

    for slot in fleet.engines.kill(0):
        fleet.engines.release(slot)
    fleet.engines.revive(0)
    fleet.pods.register_again(0)
    fleet.stream.restart(0)
    fleet.mirrors[0] = Mirror()
    fleet.pass_time()
    fleet.hear()
    reborn = {tier: set(keys) for tier, keys in fleet.mirrors[0].keys.items()}
    fleet.work(20)
    fleet.pass_time()
    fleet.hear()

    assert reborn[DEVICE] == set()
    assert len(reborn[STORAGE]) > 0
    assert fleet.mirrors[0].seq == fleet.stream.seqs[0] < fleet.stream.seqs[1]
    assert fleet.stream.seqs[1] > before
    fleet.assert_known()
