"""The trainer in the loop: bundles go live within virtual time, and predictions get better."""

import numpy as np
import pytest

from farsight.latency.model import AnalyticModel
from farsight.latency.rates import DEFAULT_RATES
from farsight.latency.scores import score
from sim.clock import VirtualClock
from sim.offered import Session
from sim.request_log import Rows
from sim.training import TrainingLoop
from tests.fakes.latency_samples import messages, samples
from tests.sim.small_fleets import ask, engine, offered, play, session

LENGTH_S = 130.0


def visitors(per_s: float = 5.0) -> list[Session]:
    """Requests of all lengths, some of which return."""
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.exponential(1 / per_s, int(LENGTH_S * per_s)))
    return [
        session(
            f"{i}",
            ask(
                int(rng.integers(400)), int(rng.integers(100, 2000)), int(rng.integers(2, 40)), at_s
            ),
        )
        for i, at_s in enumerate(times.tolist())
    ]


def error(rows: Rows) -> float:
    """Median of |predicted / actual - 1| of the time to first token."""
    actual_s = rows["first_token_s"] - rows["sent_s"]
    return float(np.median(np.abs(rows["ttft_predicted_s"] / actual_s - 1)))


def test_predictions_get_better_when_the_first_bundle_is_live() -> None:
    """The pods are twice as slow as the rates to start from say; the trainer finds that out."""
    trained = play(offered(visitors()), [engine(16_000)] * 2, "predicted")
    untrained = play(offered(visitors()), [engine(16_000)] * 2, "predicted-analytic")

    rows = trained.rows
    before, after = rows[rows["sent_s"] < 40], rows[rows["sent_s"] > 60]
    assert trained.outcome.bundle_version >= 1
    assert error(before) > 0.3
    assert error(after) < error(before) / 2
    late = untrained.rows[untrained.rows["sent_s"] > 60]
    assert untrained.outcome.bundle_version == 0
    assert error(late) == pytest.approx(error(before), rel=0.3)


async def test_bundles_come_at_the_services_own_pace() -> None:
    """The first one with enough samples, the next when some time has passed and there are more."""
    clock = VirtualClock()
    loop = TrainingLoop(clock, is_on=True)

    async def version_after(count: int, first: int, seed: int) -> int:
        for sample in messages(samples(count, seed), "m", first):
            loop.send(sample)
        await loop.refit_due()
        live = loop.bundles.models.get("m")
        return 0 if live is None else live.version

    too_few = await version_after(199, 0, 1)
    enough = await version_after(1, 199, 2)
    clock.now_s += 29
    too_soon = await version_after(150, 200, 3)
    clock.now_s += 1
    in_time = await version_after(0, 0, 4)
    clock.now_s += 60
    nothing_new = await version_after(99, 350, 5)

    assert (too_few, enough, too_soon, in_time, nothing_new) == (0, 1, 1, 2, 2)
    known = samples(300, seed=9)
    better = score(loop.bundles.models["m"], known).pinball
    assert better < score(AnalyticModel(DEFAULT_RATES), known).pinball / 2


async def test_a_loop_that_is_off_takes_no_samples() -> None:
    """A policy without training pays nothing for it."""
    loop = TrainingLoop(VirtualClock(), is_on=False)

    for sample in messages(samples(300, seed=1), "m"):
        loop.send(sample)
    await loop.refit_due()

    assert not loop.windows
    assert not loop.bundles.models


async def test_what_is_live_is_what_the_next_fit_has_to_beat() -> None:
    """And routers read its rates from its pointer."""
    loop = TrainingLoop(VirtualClock(), is_on=True)
    nothing = await loop.bundles.live("m")

    for sample in messages(samples(220, seed=1), "m"):
        loop.send(sample)
    await loop.refit_due()
    live = await loop.bundles.live("m")

    assert (nothing.version, nothing.bundle, nothing.record) == (0, None, None)
    assert live.version == 1
    assert live.bundle is loop.bundles.models["m"]
    assert live.record == loop.bundles.pointers["m"]
