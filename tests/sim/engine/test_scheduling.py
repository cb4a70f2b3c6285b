"""Who computes what in a step, how long that takes, and who has to wait."""

import pytest

from sim.engine.spec import StepRates
from tests.sim.engine.given import prompt, spec, watched

# Base 1 s, then per token, per token squared, per sequence and per token of context.
SLOW = StepRates(1.0, 0.5, 0.25, 0.125, 0.0625)


def test_a_prefill_and_two_decodes_take_what_the_rates_say() -> None:
    """Worked by hand: 1 + 4/2 + 4*2/4 = 5, 1 + 1/8 + 5/16 = 1.4375 and 1 + 1/8 + 6/16 = 1.5 s."""
    engine = watched(spec(blocks=8, rates=SLOW))
    name = engine.submit(prompt(seed=1, length_tokens=4, output_tokens=3))

    engine.run()

    assert engine.first_s[name] == 5.0
    assert engine.end_s[name] == 5.0 + 1.4375 + 1.5


def test_chunks_of_a_prefill_see_the_tokens_before_them() -> None:
    """3 tokens: 1 + 1.5 + 3*1.5/4 = 3.625 s; the last one: 1 + 0.5 + 3.5/4 = 2.375 s."""
    engine = watched(spec(blocks=8, rates=SLOW, budget=3))
    name = engine.submit(prompt(seed=1, length_tokens=4))

    engine.run()

    assert engine.first_s[name] == 3.625 + 2.375


def test_a_cached_prefix_is_context_and_not_work() -> None:
    """After 16 cached tokens, 2 more: 1 + 1 + 2*17/4 = 10.5 s."""
    engine = watched(spec(blocks=8, rates=SLOW))
    for now_s in (0.0, 1000.0):
        engine.submit(prompt(seed=1, length_tokens=18), now_s)
        engine.run(now_s + 500)

    assert engine.first_s[1] == 1010.5


def test_decodes_and_a_prefill_share_a_step() -> None:
    """4-token prefill with a decode of 5 tokens of context: 5 + 1/8 + 5/16 s."""
    engine = watched(spec(blocks=8, rates=SLOW))
    engine.submit(prompt(seed=1, length_tokens=4, output_tokens=9))
    engine.run(2.0)
    late = engine.submit(prompt(seed=2, length_tokens=4), 2.0)

    engine.run(1000)

    assert engine.first_s[late] == 5.0 + 5.4375


def test_a_request_that_comes_during_a_step_waits_for_its_end() -> None:
    """It is in the queue until then."""
    engine = watched(spec(blocks=8, rates=SLOW))
    engine.submit(prompt(seed=1, length_tokens=4, output_tokens=9))
    engine.run(1.0)
    engine.submit(prompt(seed=2, length_tokens=4), 1.0)

    engine.run(4.9)
    assert engine.engines.gauges(0).waiting == 1
    engine.run(5.0)
    assert engine.engines.gauges(0).waiting == 0


def test_the_budget_is_shared_by_running_requests_and_then_new_ones() -> None:
    """Of 64 a step, the first prompt takes 64, then 36; the second gets 28, then the rest."""
    engine = watched(spec(blocks=64, budget=64, sequences=8))
    first = engine.submit(prompt(seed=1, length_tokens=100, output_tokens=30))
    second = engine.submit(prompt(seed=2, length_tokens=64))
    scheduled = []

    for _ in range(4):
        engine.run(engine.engines.next_s)
        rows = engine.engines.state.requests
        slots = [engine.slots[name] for name in (first, second) if name in engine.slots]
        scheduled.append([int(rows[slot]["scheduled"]) for slot in slots])

    assert scheduled == [[64, 0], [36, 28], [1, 36], [1]]


def test_a_long_prefill_starves_those_behind_it() -> None:
    """A running request that takes the budget leaves none to one that decodes behind it."""
    engine = watched(spec(blocks=64, budget=32, sequences=8))
    engine.submit(prompt(seed=1, length_tokens=40, output_tokens=3))
    engine.submit(prompt(seed=2, length_tokens=20, output_tokens=3))
    engine.run(engine.engines.next_s)
    engine.run(engine.engines.next_s)

    rows = engine.engines.state.requests
    assert [int(rows[engine.slots[name]]["scheduled"]) for name in (0, 1)] == [8, 20]


def test_no_more_sequences_run_than_allowed() -> None:
    """The third waits until one has ended."""
    engine = watched(spec(blocks=64, sequences=2))
    for seed in range(3):
        engine.submit(prompt(seed, length_tokens=20, output_tokens=5))

    engine.run(engine.engines.next_s)

    gauges = engine.engines.gauges(0)
    assert (gauges.running, gauges.waiting) == (2, 1)
    engine.run()
    assert engine.first_s[2] > engine.end_s[0]


def test_a_whole_prompt_has_to_fit_before_its_first_chunk_is_computed() -> None:
    """Six of ten blocks are held; a prompt of five blocks waits though its chunk needs one."""
    engine = watched(spec(blocks=10, budget=16, sequences=4))
    first = engine.submit(prompt(seed=1, length_tokens=90, output_tokens=6))
    engine.run(engine.engines.next_s)
    for _ in range(5):
        engine.run(engine.engines.next_s)
    second = engine.submit(prompt(seed=2, length_tokens=70), engine.engines.reached_s)

    engine.run(engine.engines.next_s)
    assert engine.engines.gauges(0).waiting == 1
    engine.run()

    assert engine.first_s[second] > engine.end_s[first]


def test_the_head_of_the_queue_blocks_those_behind() -> None:
    """A short request would fit, and waits."""
    engine = watched(spec(blocks=10))
    first = engine.submit(prompt(seed=1, length_tokens=90, output_tokens=6))
    engine.submit(prompt(seed=2, length_tokens=120))
    short = engine.submit(prompt(seed=3, length_tokens=10))

    engine.run(engine.engines.next_s)

    gauges = engine.engines.gauges(0)
    assert (gauges.running, gauges.waiting) == (1, 2)
    engine.run()
    assert engine.first_s[short] > engine.end_s[first]


def test_the_last_admitted_gives_way_and_finds_its_blocks_again() -> None:
    """It computes anew what was evicted meanwhile, and keeps the tokens that it has generated."""
    engine = watched(spec(blocks=5))
    first, second = (
        engine.submit(prompt(seed, length_tokens=30, output_tokens=20)) for seed in (1, 2)
    )

    while engine.engines.gauges(0).waiting == 0 or not engine.first_s:
        engine.run(engine.engines.next_s)

    progress = engine.progress(second)
    assert (progress.preemptions, progress.generated, progress.cached_tokens) == (1, 3, 0)
    assert engine.progress(first).preemptions == 0
    assert engine.engines.gauges(0).kv_usage_ratio == 0.6
    engine.run(engine.engines.next_s)
    assert engine.engines.gauges(0).running == 1

    while first not in engine.end_s:
        engine.run(engine.engines.next_s)
    row = engine.engines.state.requests[engine.slots[second]]
    assert (row["computed"], row["scheduled"]) == (16, 17)  # its second block was evicted
    engine.run()
    assert engine.at_end[second].generated == 20
    assert engine.at_end[second].cached_tokens == 0
    assert engine.engines.counters.preemptions == 1


@pytest.mark.parametrize("state", ["waiting", "running", "computing its prompt"])
def test_an_aborted_request_leaves_nothing_behind(state: str) -> None:
    """Its blocks are free at once; full ones stay in the cache."""
    engine = watched(spec(blocks=16, sequences=1, budget=32))
    if state == "waiting":
        engine.submit(prompt(seed=2, length_tokens=20, output_tokens=9))
    name = engine.submit(prompt(seed=1, length_tokens=60, output_tokens=9))
    for _ in range(1 if state != "running" else 4):
        engine.run(engine.engines.next_s)
    usage = engine.engines.gauges(0).kv_usage_ratio

    engine.release(name)

    is_waiting = state == "waiting"
    assert usage > 0
    assert engine.engines.gauges(0).kv_usage_ratio == (2 / 16 if is_waiting else 0)
    engine.run()
    assert engine.slots == {}
    assert name not in engine.end_s
    assert len(engine.held()) == {"waiting": 1, "running": 3, "computing its prompt": 2}[state]
