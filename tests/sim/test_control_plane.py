"""What the routers of a simulation know: of caches, exactly; of loads and each other, in time."""

from dataclasses import replace

import numpy as np
import pytest

from farsight.index.match import Confidence
from sim.engine.spec import EngineSpec, TierSpec
from sim.request_log import Status
from sim.simulation import Simulation
from tests.sim.known_blocks import held, known
from tests.sim.small_fleets import (
    HOST,
    REPORTED,
    Played,
    ask,
    crowd,
    engine,
    offered,
    play,
    session,
    stragglers,
)

STORAGE = TierSpec(2400, 1e-6, 1e-3)
# Every cache is smaller than what passes through it.
FLEETS: dict[str, tuple[list[EngineSpec], TierSpec | None]] = {
    "device": ([engine(2048)] * 3, None),
    "blocks of 48": ([engine(2016, 48)] * 3, None),
    "mixed blocks": ([engine(2048), engine(2016, 48), engine(1920, 32)], None),
    "host": ([engine(2048, host=HOST)] * 3, None),
    "storage": ([engine(2048, mounts_storage=True)] * 3, STORAGE),
    "all tiers, blocks of 48": (
        [engine(2016, 48, host=TierSpec(2880, 1e-6, 1e-3), mounts_storage=True)] * 3,
        STORAGE,
    ),
    "storage of one": ([engine(2048, mounts_storage=True), engine(2048)], STORAGE),
    "storage of unequal pods": (
        [engine(2048, slowness=s, mounts_storage=True) for s in (1, 5)],
        TierSpec(800, 1e-6, 1e-3),
    ),
}
fleets = pytest.mark.parametrize("fleet", FLEETS)


def assert_known_exactly(simulation: Simulation) -> None:
    """Every router knows of every pod and tier, block by block, what the engine holds."""
    control, engines = simulation.control_plane, simulation.engines
    assert control is not None
    for replica in control.replicas:
        reports = replica.index.report()
        assert [r.confidence for r in reports] == [Confidence.EXACT] * len(engines)
        for pod, report in enumerate(reports):
            assert known(replica, report.endpoint_id) == held(engines, pod), report.endpoint_id


def errors(played: Played) -> int:
    """Requests whose cached tokens were not what the router said."""
    rows = played.rows
    return int((rows["cached_tokens"] != rows["cached_predicted_tokens"]).sum())


@fleets
@pytest.mark.parametrize("policy", ["least-requests", "precise-prefix"])
def test_at_rest_the_index_holds_what_the_engines_hold(fleet: str, policy: str) -> None:
    """Block by block and on every tier, after many evictions."""
    specs, storage = FLEETS[fleet]

    played = play(offered(crowd(80, 8), stragglers()), specs, policy, storage=storage)

    rows = played.rows
    computed = rows["prompt_tokens"].sum() - rows["cached_tokens"].sum()
    assert computed > 2 * sum(spec.kv_tokens for spec in specs)
    assert_known_exactly(played.simulation)


@fleets
def test_predictions_for_requests_one_at_a_time_are_what_engines_find(fleet: str) -> None:
    """No token more or less, whatever tier it comes from."""
    specs, storage = FLEETS[fleet]
    turns = [turn for one in crowd(60, 8) for turn in [(one, t) for t in one.turns]]
    load = [
        session(f"{i}", replace(turn, at_s=5.0 * i), context=one.context)
        for i, (one, turn) in enumerate(turns)
    ]

    played = play(offered(load), specs, storage=storage)

    overall = played.outcome.overall
    assert overall.cached_predicted_error_tokens == 0
    assert overall.cached_token_share is not None
    assert overall.cached_token_share > 0.1
    assert errors(played) == 0


@pytest.mark.parametrize("loss", [0.3, 1.0])
def test_lost_deltas_are_noticed_and_made_good_by_snapshots(loss: float) -> None:
    """Even when none arrives at all, heartbeats tell, and the index is EXACT and right again."""
    environment = replace(REPORTED, delta_loss=loss, routers=2)

    played = play(offered(crowd(80, 8), stragglers()), [engine(2048)] * 3, environment=environment)

    assert errors(played) > 0
    assert_known_exactly(played.simulation)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_deltas_that_overtake_each_other_do_no_harm(share: float) -> None:
    """What comes too early waits for what is late."""
    environment = replace(REPORTED, delta_reorder=share)

    played = play(offered(crowd(80, 8), stragglers()), [engine(2048)] * 3, environment=environment)

    assert (played.rows["status"] == Status.COMPLETED).all()
    assert_known_exactly(played.simulation)


def test_late_deltas_make_late_knowledge() -> None:
    """The longer they take, the more often a router is wrong; in the end it is right."""
    wrong = []
    for delay_s in (0.002, 2.0):
        environment = replace(REPORTED, delta_delay_s=delay_s)
        load = offered(crowd(80, 8), stragglers())
        played = play(load, [engine(2048)] * 3, environment=environment)
        wrong.append(errors(played))
        assert_known_exactly(played.simulation)

    assert wrong[0] < wrong[1] / 3


@pytest.mark.parametrize("routers", [2, 3])
def test_all_routers_know_the_same(routers: int) -> None:
    """They take turns, and each hears every delta."""
    environment = replace(REPORTED, routers=routers)

    played = play(offered(crowd(80, 8), stragglers()), [engine(2048)] * 3, environment=environment)

    control = played.simulation.control_plane
    assert control is not None
    made = [replica.router.decisions for replica in control.replicas]
    assert max(made) - min(made) <= 1
    assert sum(made) == len(played.rows)
    assert_known_exactly(played.simulation)


def test_without_an_index_a_router_goes_by_what_it_routed() -> None:
    """Nothing reaches its index; it finds a returning prompt all the same."""
    again = [session(f"{i}", ask(1, 640, at_s=2.0 * i)) for i in range(6)]

    played = play(offered(again), [engine()] * 3, "approximate-prefix")

    control = played.simulation.control_plane
    assert control is not None
    assert control.replicas[0].index.report() == []
    assert len(set(played.rows["endpoint"].tolist())) == 1
    assert np.array_equal(played.rows["cached_predicted_tokens"], [0, *[624] * 5])
    assert errors(played) == 0
