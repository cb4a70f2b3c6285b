"""Slots, time, events and growth of the fleet of engines."""

import math

import numpy as np
import pytest

from farsight.errors import InvalidField
from sim.engine import advance as kernels
from sim.engine import layout
from sim.engine.engines import Engines, Kind
from sim.engine.layout import KV_ROOM
from sim.engine.spec import StepRates
from tests.sim.engine.given import SEED, Asked, prompt, spec, watched

KEYS = prompt(seed=1, length_tokens=40).keys


def test_a_sequence_that_can_never_fit_is_refused() -> None:
    """With its answer; one that just fits is not, and ends."""
    engine = watched(spec(blocks=4))

    with pytest.raises(InvalidField, match="prompt_tokens"):
        engine.submit(prompt(seed=1, length_tokens=60, output_tokens=5))
    engine.submit(prompt(seed=1, length_tokens=60, output_tokens=4))
    engine.run()

    assert list(engine.end_s) == [0]


@pytest.mark.parametrize(
    ("prompt_tokens", "output_tokens", "field"),
    [(0, 40, "prompt_tokens"), (40, 0, "output_tokens"), (41, -1, "output_tokens"),
     (30, 1, "keys"), (48, 1, "keys")],
)  # fmt: skip
def test_a_request_that_makes_no_sense_is_refused(
    prompt_tokens: int, output_tokens: int, field: str
) -> None:
    """It would never end, or read keys that are not there."""
    engines = Engines([spec(blocks=4)])

    with pytest.raises(InvalidField) as refused:
        engines.submit(0, KEYS, prompt_tokens, output_tokens, 0.0)

    assert refused.value.field == field
    assert engines.in_flight == []
    assert engines.next_s == math.inf


def test_idle_engines_let_any_time_pass() -> None:
    """Even all of it."""
    engines = Engines([spec(blocks=4)] * 2)

    assert engines.advance(5.0) == 5.0
    assert engines.advance(math.inf) == math.inf
    assert engines.next_s == math.inf


def test_time_stops_at_events_when_asked_to() -> None:
    """First tokens and ends; steps in between do not stop it."""
    engine = watched(spec(blocks=8))
    engine.submit(prompt(seed=1, length_tokens=20, output_tokens=9))
    stops = []
    while engine.slots:
        stops.append(engine.engines.advance(math.inf))
        engine.note()

    assert stops == [engine.first_s[0], engine.end_s[0]]
    assert engine.engines.counters.steps == 9


def test_events_come_in_order_of_time_over_all_engines() -> None:
    """One call may let many steps pass."""
    engines = Engines([spec(blocks=64, sequences=2)] * 3)
    for seed in range(30):
        asked = prompt(seed, length_tokens=20 + seed, output_tokens=1 + seed % 4)
        engines.submit(seed % 3, asked.keys, asked.prompt_tokens, asked.output_tokens, seed / 256)

    engines.advance(math.inf, stops_at_events=False)

    events = list(engines.take_events())
    assert [e.time_s for e in events] == sorted(e.time_s for e in events)
    assert sum(e.kind is Kind.FIRST_TOKEN for e in events) == 30
    assert sorted(e.request for e in events if e.kind is Kind.FINISHED) == list(range(30))
    assert all(event.engine == event.request % 3 for event in events)
    engines.clear_taken()
    assert list(engines.take_events()) == []


def test_what_was_taken_is_forgotten() -> None:
    """KV events too."""
    engines = Engines([spec(blocks=8)])
    engines.submit(0, KEYS, 40, 1, 0.0)
    engines.advance(10.0)

    changes = engines.take_kv_changes()
    assert changes is not None
    assert changes.keys.tolist() == KEYS.tolist()
    engines.clear_taken()
    assert engines.take_kv_changes() is None


def test_time_stops_before_there_is_no_room_for_kv_events() -> None:
    """The caller takes them, and none is lost."""
    engine = watched(spec(blocks=6000))
    engine.stops_at_events = False
    prompts = [prompt(seed, length_tokens=16 * 1000) for seed in range(40)]
    for one in prompts:
        engine.submit(one)
    stops = 0
    while engine.slots:
        engine.engines.advance(math.inf, stops_at_events=False)
        taken = engine.engines.take_kv_changes()
        stops += taken is not None and len(taken.rows) > KV_ROOM
        engine.note()

    assert stops > 2
    stored = {key for change in engine.changes if change.is_store for key in change.keys}
    assert stored == {key for one in prompts for key in one.keys.tolist()}
    assert len(engine.changes) == 40 * 1000 + 34 * 1000


def test_slots_and_ranges_are_used_again() -> None:
    """A long run of short requests takes no more room than a few at once."""
    engine = watched(spec(blocks=64))
    arrays = engine.engines.state.requests, engine.engines.state.arena_keys
    for seed in range(300):
        engine.submit(prompt(seed, length_tokens=400), float(seed))
        engine.run(float(seed) + 0.9)

    assert len(engine.end_s) == 300
    assert engine.engines.state.requests is arrays[0]
    assert engine.engines.state.arena_keys is arrays[1]


def test_arrays_grow_with_the_requests_in_flight() -> None:
    """Requests that were there before keep their keys and blocks."""
    engine = watched(spec(blocks=4000, budget=2048))
    engine.stops_at_events = False
    first = engine.submit(prompt(0, length_tokens=1000, output_tokens=300))
    engine.run(0.1)

    for seed in range(1, 200):
        engine.submit(prompt(seed, length_tokens=1500), 0.1)
    assert engine.engines.state.requests.size == 256
    assert engine.engines.state.arena_keys.size == 1 << 15
    engine.run()

    assert len(engine.end_s) == 200
    answered = [c for c in engine.changes if c.request == first]
    assert [c.keys[0] for c in answered] == prompt(0, 1000, 299).keys.tolist()


def test_steps_that_take_no_time_end_too() -> None:
    """Rates may all be zero; requests come to their end at once."""
    engine = watched(spec(blocks=8, rates=StepRates(0.0, 0.0, 0.0, 0.0, 0.0)))
    engine.submit(prompt(seed=1, length_tokens=20, output_tokens=9))

    engine.run(1.0)

    assert engine.end_s == {0: 0.0}
    assert engine.at_end[0].generated == 9


def test_gaps_between_tokens_are_counted() -> None:
    """One for each token but the first, in the bin of its length."""
    engine = watched(spec(blocks=8))
    engine.submit(prompt(seed=1, length_tokens=20, output_tokens=9))

    engine.run()

    itl = engine.engines.state.itl
    assert itl.sum() == 8
    edges = np.geomspace(layout.ITL_FIRST_EDGE_S, layout.ITL_LAST_EDGE_S, layout.ITL_BINS + 1)
    mean_s = (engine.end_s[0] - engine.first_s[0]) / 8
    assert edges[np.flatnonzero(itl)[0]] <= mean_s < edges[np.flatnonzero(itl)[-1] + 1]
    assert np.flatnonzero(itl).size <= 2


def test_a_gap_of_any_length_has_a_bin() -> None:
    """The shortest and the longest ones count, in the first and the last."""
    engine = watched(spec(blocks=8))
    engine.submit(prompt(seed=1, length_tokens=20, output_tokens=4))
    engine.run(0.0)
    for factor in (1.0, 1e9, 1e-9):
        engine.engines.slow_down(0, factor)
        engine.run(engine.engines.next_s)
    engine.run()

    itl = engine.engines.state.itl
    assert (itl[0], itl[-1], itl.sum()) == (1, 1, 3)


def random_keys(rng: np.random.Generator, tokens: int) -> Asked:
    """A request with keys that come from nowhere."""
    keys = rng.integers(1, SEED, tokens // 16, np.uint64)
    return Asked(keys, tokens - 5, 5)


def test_the_same_requests_give_the_same_bytes() -> None:
    """All arrays, after a run with evictions and preemptions."""

    def run() -> bytes:
        rng = np.random.default_rng(7)
        engine = watched(spec(blocks=12), spec(blocks=20, block_tokens=32))
        for i in range(60):
            engine.submit(random_keys(rng, int(rng.integers(20, 150))), i / 64, engine=i % 2)
            engine.run((i + 1) / 64)
        engine.run()
        return b"".join(array.tobytes() for array in engine.engines.state)

    assert run() == run()


def test_whole_seconds_are_times_too() -> None:
    """Integers do not compile the kernels anew."""
    engines = Engines([spec(blocks=8)])
    engines.submit(0, KEYS, 40, 1, 1)
    compiled = compiled_types()

    engines.advance(2)

    assert compiled_types() == compiled
    assert [event.kind for event in engines.take_events()] == [Kind.FIRST_TOKEN, Kind.FINISHED]


def compiled_types() -> list[object]:
    """Types of arguments that the kernels have been compiled for."""
    return [*kernels.advance.signatures, *kernels.submit.signatures]
