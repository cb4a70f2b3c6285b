"""Sampled queue depth and batch size."""

import pytest

from farsight.keys import CANONICAL_BLOCK_TOKENS, chain
from sim.agenda import Agenda
from sim.clock import VirtualClock
from sim.engine.engines import Engines
from sim.gauges import INTERVAL_S, GaugeSampler
from sim.pods import Pods
from sim.tokens import Piece, tokens_of
from tests.sim.small_fleets import crowd, engine, offered, play


def test_means_are_over_pods_and_samples_since_the_reset() -> None:
    """Two requests on one of two pods, of which one waits for room, are half a request each."""
    specs = [engine(320), engine(320)]
    engines, agenda, clock = Engines(specs), Agenda(), VirtualClock()
    sampler = GaugeSampler(engines, clock, agenda)
    before = sampler.means()
    sampler.start()
    pods = Pods(specs, ())
    for seed in range(2):
        keys = chain(pods.seed(""), tokens_of([Piece(seed, 310)]), CANONICAL_BLOCK_TOKENS)
        engines.submit(0, keys, 250, 60, 0.0)
    sampler.reset()

    while agenda.next_s <= 2 * INTERVAL_S:
        clock.now_s = agenda.next_s
        engines.advance(clock.now_s, False)
        agenda.pop()()

    assert before == (None, None)
    assert sampler.means() == (0.5, 0.5)


def test_a_run_reports_littles_law() -> None:
    """Requests in the engines are their rate times the time that they take."""
    overall = play(offered(crowd(200, 8)), [engine()] * 2).outcome.overall

    assert overall.e2e.mean_s is not None
    assert overall.running_mean is not None
    assert overall.waiting_mean is not None
    held = 2 * (overall.running_mean + overall.waiting_mean)
    assert held == pytest.approx(overall.requests_per_s * overall.e2e.mean_s, rel=0.2)
