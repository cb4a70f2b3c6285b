"""Engines that are slow, hang, die and come back."""

import math

import pytest

from sim.engine.spec import StepRates, TierSpec
from tests.sim.engine.given import Watched, prompt, spec, watched

SECOND = StepRates(1.0, 0.0, 0.0, 0.0, 0.0)
TIER = TierSpec(capacity_tokens=4096, load_s_per_token=1.0)


def one_second_steps(engines: int = 1) -> Watched:
    """Engines whose steps all take a second."""
    return watched(*(spec(blocks=64, rates=SECOND) for _ in range(engines)))


def test_a_slow_engine_takes_longer_from_its_next_step_on() -> None:
    """And is as fast as before when that ends."""
    engine = one_second_steps()
    name = engine.submit(prompt(seed=1, length_tokens=20, output_tokens=4))
    engine.run(0.5)
    engine.engines.slow_down(0, 3.0)
    engine.run(5.0)
    engine.engines.slow_down(0, 1.0)

    engine.run()

    assert engine.first_s[name] == 1.0
    assert engine.end_s[name] == 1.0 + 3.0 + 3.0 + 1.0


def test_an_engine_that_hangs_ends_its_step_later() -> None:
    """No step ends before; those after it take as long as ever."""
    engine = one_second_steps()
    name = engine.submit(prompt(seed=1, length_tokens=20, output_tokens=2))
    engine.run(0.5)
    engine.engines.hang(0, 10.0)

    engine.run()

    assert engine.first_s[name] == 10.0
    assert engine.end_s[name] == 11.0


def test_an_idle_engine_that_hangs_takes_requests_and_does_nothing() -> None:
    """They wait for the end of it."""
    engine = one_second_steps()
    engine.engines.hang(0, 10.0)
    name = engine.submit(prompt(seed=1, length_tokens=20), 4.0)

    engine.run(9.0)
    assert engine.engines.gauges(0).waiting == 1
    engine.run()

    assert engine.first_s[name] == 11.0


def test_an_engine_may_hang_for_ever() -> None:
    """Time goes on without it, and its requests can be aborted."""
    engine = one_second_steps(engines=2)
    stuck = engine.submit(prompt(seed=1, length_tokens=20))
    engine.run(0.5)
    engine.engines.hang(0, math.inf)
    fine = engine.submit(prompt(seed=1, length_tokens=20), 0.5, engine=1)

    engine.run()

    assert list(engine.first_s) == [fine]
    engine.release(stuck)
    assert engine.engines.gauges(0).running == 0


def test_a_dead_engine_loses_its_requests_and_its_cache() -> None:
    """It names those that were there: running, waiting, and ended but not yet released."""
    engine = one_second_steps(engines=2)
    ended = engine.engines.submit(0, prompt(9, 20).keys, 20, 1, 0.0)
    engine.engines.advance(5.0)
    engine.engines.clear_taken()
    lost = [engine.submit(prompt(seed, 40, output_tokens=9), 5.0) for seed in (1, 2)]
    kept = engine.submit(prompt(3, 40, output_tokens=9), 5.0, engine=1)
    engine.run(6.5)
    lost.append(engine.submit(prompt(4, 40, output_tokens=9), 6.5))

    named = engine.engines.kill(0)

    assert sorted(named) == sorted([ended, *(engine.slots[name] for name in lost)])
    engine.engines.release(ended)
    for name in lost:
        engine.release(name)
    assert not engine.engines.is_alive(0)
    assert engine.held(0) == []
    gauges = engine.engines.gauges(0)
    assert (gauges.running, gauges.waiting, gauges.kv_usage_ratio) == (0, 0, 0.0)
    engine.run()
    assert list(engine.end_s) == [kept]
    assert len(engine.held(1)) == 3


def test_a_revived_engine_starts_with_nothing() -> None:
    """Neither its cache nor a fault that it had."""
    engine = one_second_steps()
    engine.submit(prompt(seed=1, length_tokens=40))
    engine.run(5.0)
    engine.engines.slow_down(0, 7.0)
    engine.engines.hang(0, 50.0)
    engine.engines.kill(0)

    engine.engines.revive(0)
    again = engine.submit(prompt(seed=1, length_tokens=40), 10.0)
    engine.run()

    assert engine.first_s[again] == 11.0
    assert engine.at_end[again].cached_tokens == 0


@pytest.mark.parametrize("tier", ["host", "storage"])
def test_the_host_tier_dies_with_the_process_and_the_storage_does_not(tier: str) -> None:
    """A restarted engine loads from the storage."""
    host = TIER if tier == "host" else None
    engine = watched(
        spec(blocks=64, rates=SECOND, host=host, mounts_storage=tier == "storage"), storage=TIER
    )
    engine.submit(prompt(seed=1, length_tokens=40))
    engine.run(5.0)
    engine.engines.kill(0)
    engine.engines.revive(0)

    again = engine.submit(prompt(seed=1, length_tokens=40), 10.0)
    engine.run()

    progress = engine.at_end[again]
    assert (progress.host_tokens, progress.storage_tokens) == (0, 0 if tier == "host" else 32)


def test_loads_of_a_dead_process_do_not_hold_up_its_successor() -> None:
    """Its link to the host is free."""
    engine = watched(spec(blocks=4, rates=SECOND, host=TIER))
    for seed, now_s in ((1, 0.0), (2, 10.0), (1, 20.0)):
        engine.submit(prompt(seed, length_tokens=50), now_s)
        engine.run(now_s + 9)  # the third loads 48 tokens, a second each
    for slot in engine.engines.kill(0):
        engine.release(next(n for n, s in engine.slots.items() if s == slot))
    engine.engines.revive(0)
    for seed, now_s in ((1, 30.0), (2, 40.0), (1, 50.0)):
        last = engine.submit(prompt(seed, length_tokens=50), now_s)
        engine.run(now_s + 9)

    engine.run()

    assert engine.at_end[last].host_tokens == 48
    assert engine.first_s[last] == 50.0 + 48.0 + 1.0
