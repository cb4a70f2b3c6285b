"""The kernels do what the plain engine does, to the bit."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.engine.spec import EngineSpec
from sim.tokens import Piece
from tests.sim.engine.given import Asked, Change, Watched, asked, spec, watched
from tests.sim.engine.plain import PlainEngine

TICK_S = 2**-8


@dataclass(frozen=True, slots=True)
class Ask:
    """Wait, then submit: some tokens of a shared text, then some of a text that few share."""

    wait_ticks: int
    family: int
    shared_tokens: int
    own: int
    own_tokens: int
    output_tokens: int

    def request(self) -> Asked:
        """As an engine gets it."""
        pieces = Piece(self.family, self.shared_tokens), Piece(100 + self.own, self.own_tokens)
        return asked(*pieces, output_tokens=self.output_tokens)


@dataclass(frozen=True, slots=True)
class Abort:
    """Wait, then abort one of the requests that are in flight."""

    wait_ticks: int
    which: int


Script = list[Ask | Abort]
ASKS = st.builds(
    Ask,
    wait_ticks=st.sampled_from([0, 0, 1, 5, 40]),
    family=st.integers(0, 1),
    shared_tokens=st.sampled_from([0, 16, 32, 40, 48, 96]),
    own=st.integers(0, 2),
    own_tokens=st.sampled_from([1, 16, 17, 48, 64]),
    output_tokens=st.integers(1, 50),
)
ABORTS = st.builds(Abort, wait_ticks=st.integers(0, 30), which=st.integers(0, 20))
SCRIPTS = st.lists(st.one_of(ASKS, ASKS, ASKS, ABORTS), min_size=1, max_size=24)


def spec_for(
    script: Script, spare: int, block_tokens: int, sequences: int, extra: int
) -> EngineSpec:
    """An engine whose cache has a few blocks more than the longest request of a script needs."""
    totals = [
        a.shared_tokens + a.own_tokens + a.output_tokens for a in script if isinstance(a, Ask)
    ]
    blocks = -(-max(totals, default=1) // block_tokens) + spare
    return spec(blocks, block_tokens, budget=sequences + extra, sequences=sequences)


def both(engine: EngineSpec, script: Script, stops_at_events: bool) -> tuple[Watched, PlainEngine]:
    """Run a script on both engines; at every stop they show the same."""
    kernels, plain = watched(engine), PlainEngine(engine)
    kernels.stops_at_events = stops_at_events
    now_s = 0.0
    for action in script:
        now_s += action.wait_ticks * TICK_S
        kernels.run(now_s)
        plain.run(now_s)
        if isinstance(action, Ask):
            assert kernels.submit(action.request(), now_s) == plain.submit(action.request(), now_s)
        elif in_flight := sorted(kernels.slots):
            name = in_flight[action.which % len(in_flight)]
            kernels.release(name)
            plain.abort(name)
        compare_state(kernels, plain)
    kernels.run()
    plain.run(float("inf"))
    compare_state(kernels, plain)
    return kernels, plain


def compare_state(kernels: Watched, plain: PlainEngine) -> None:
    """What the metrics page and the KV events say now."""
    gauges = kernels.engines.gauges(0)
    assert gauges.running == len(plain.running)
    assert gauges.waiting == len(plain.waiting)
    assert gauges.kv_usage_ratio == 1 - len(plain.cache.free) / plain.spec.blocks
    assert kernels.held() == plain.cache.held_keys()
    assert kernels.changes == plain.changes


def compare_ends(kernels: Watched, plain: PlainEngine) -> None:
    """Times and what became of each request."""
    assert kernels.slots == {}
    assert kernels.first_s == plain.first_s
    assert kernels.end_s == plain.end_s
    for name, request in plain.ended.items():
        progress = kernels.at_end[name]
        assert progress.cached_tokens == request.cached_tokens
        assert progress.preemptions == request.preemptions
        assert progress.generated == request.output_tokens


@pytest.mark.parametrize("block_tokens", [16, 48])
@settings(max_examples=60, derandomize=True)
@given(
    script=SCRIPTS,
    spare=st.integers(0, 6),
    sequences=st.integers(1, 6),
    extra=st.sampled_from([0, 1, 7, 30, 200]),
    stops_at_events=st.booleans(),
)
def test_any_mix_of_requests_runs_alike(
    block_tokens: int, script: Script, spare: int, sequences: int, extra: int, stops_at_events: bool
) -> None:
    """Times, hits, counts, held keys and the order of KV events, in caches that are too small."""
    engine = spec_for(script, spare, block_tokens, sequences, extra)

    kernels, plain = both(engine, script, stops_at_events)

    compare_ends(kernels, plain)


def drawn(rng: np.random.Generator, actions: int) -> Script:
    """A long script."""
    script: Script = []
    for _ in range(actions):
        if rng.random() < 0.1:
            script.append(Abort(int(rng.integers(20)), int(rng.integers(20))))
        else:
            script.append(
                Ask(
                    wait_ticks=int(rng.choice([0, 0, 1, 4, 12])),
                    family=int(rng.integers(3)),
                    shared_tokens=int(rng.choice([0, 16, 32, 48, 60, 96])),
                    own=int(rng.integers(6)),
                    own_tokens=int(rng.choice([1, 16, 32, 48, 63, 90])),
                    output_tokens=int(rng.integers(1, 60)),
                )
            )
    return script


@pytest.mark.parametrize(("block_tokens", "seed"), [(16, 1), (16, 2), (32, 3), (48, 4)])
def test_long_runs_are_alike(block_tokens: int, seed: int) -> None:
    """Hundreds of requests, enough for all that is rare: the run shows that it happened."""
    script = drawn(np.random.default_rng(seed), 250)
    engine = spec_for(script, spare=3, block_tokens=block_tokens, sequences=6, extra=60)

    kernels, plain = both(engine, script, stops_at_events=True)

    compare_ends(kernels, plain)
    ends = kernels.at_end.values()
    assert sum(progress.preemptions for progress in ends) > 5
    assert sum(progress.cached_tokens > 0 for progress in ends) > 20
    assert len(kernels.first_s) < sum(isinstance(action, Ask) for action in script)
    assert has_copies(kernels.changes)


def has_copies(changes: list[Change]) -> bool:
    """A block came in that was there already, and one left of which a copy stayed."""
    kinds = Counter((change.is_store, change.changed[-1]) for change in changes)
    return all(kinds[is_store, False] for is_store in (True, False))
