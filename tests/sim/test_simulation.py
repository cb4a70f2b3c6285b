"""Whole runs: nothing is lost and nothing is left over, whoever decides and whatever the fleet."""

from dataclasses import replace

import numpy as np
import pytest

from sim.engine.integrity import check_integrity
from sim.engine.spec import TierSpec
from sim.offered import Offered, Session, Stage
from sim.policy import policy_names
from sim.request_log import Status
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
    singles,
)

STORAGE = TierSpec(3000, 1e-6, 1e-3)


def assert_conserved(played: Played, sessions: list[Session]) -> None:
    """Each turn is a row with all of its answer; no block, booking or decision is left."""
    rows, simulation = played.rows, played.simulation
    outputs = sorted(turn.output_tokens for one in sessions for turn in one.turns)
    assert sorted(rows["output_tokens"].tolist()) == outputs
    assert (rows["status"] == Status.COMPLETED).all()
    assert (rows["arrived_s"] <= rows["sent_s"]).all()
    assert (rows["sent_s"] < rows["first_token_s"]).all()
    assert (rows["first_token_s"] <= rows["ended_s"]).all()
    assert played.outcome.overall.requests == len(rows) == len(outputs)
    engines = simulation.engines
    check_integrity(engines)
    assert engines.in_flight == []
    assert (engines.state.pools["free"] == engines.state.pools["size"]).all()
    if simulation.control_plane is not None:
        for replica in simulation.control_plane.replicas:
            own = replica.parts.reservations.announcement(True, 0)
            assert own is not None
            assert not own.endpoints
            assert replica.parts.outcomes.open_decisions == 0


@pytest.mark.parametrize("policy", policy_names())
def test_nothing_is_lost_and_nothing_is_left_whoever_decides(policy: str) -> None:
    """With every policy, two routers and caches that evict and preempt."""
    sessions = crowd(60, 15)
    environment = replace(REPORTED, routers=2)

    played = play(offered(sessions), [engine(1600)] * 3, policy, environment)

    assert_conserved(played, sessions)


@pytest.mark.parametrize(
    "specs",
    [
        [engine(1600, host=HOST)] * 2,
        [engine(1632, 48, mounts_storage=True)] * 2,
        [engine(1600, host=HOST, mounts_storage=True), engine(1600, slowness=2)],
        [engine(1600), engine(1920, 32, slowness=0.5), engine(4000)],
    ],
)
def test_nothing_is_lost_and_nothing_is_left_on_any_fleet(specs: list[object]) -> None:
    """With tiers, other block sizes, and pods that differ; nobody waits for ever."""
    sessions = crowd(60, 15)

    played = play(offered(sessions), specs, "precise-prefix", storage=STORAGE)  # type: ignore[arg-type]

    assert_conserved(played, sessions)


def test_preempted_requests_get_all_of_their_answers() -> None:
    """More sequences grow than the cache can hold."""
    sessions = [session(f"{i}", ask(i + 1, 150, 100)) for i in range(12)]

    played = play(offered(sessions), [engine(1600)])

    assert played.outcome.preemptions > 0
    assert_conserved(played, sessions)


def test_equal_seeds_give_equal_runs_and_others_do_not() -> None:
    """Every time and every choice, with losses, several routers and random picks."""
    environment = replace(REPORTED, routers=2, delta_loss=0.1, delta_reorder=0.1, report_loss=0.1)

    def log(seed: int) -> bytes:
        played = play(offered(crowd(40, 8)), [engine(2048)] * 3, "random", environment, seed=seed)
        return played.rows.tobytes()

    assert log(1) == log(1)
    assert log(1) != log(2)


def test_a_faster_pod_gets_more_requests() -> None:
    """With policies that look at load; a plain balancer deals evenly."""
    shares = {}
    for policy in ("least-requests", "predicted-analytic", "oracle", "round-robin"):
        specs = [engine(slowness=slowness) for slowness in (2.0, 1.0)]
        played = play(offered(singles(120, 0.06, tokens=400)), specs, policy)
        shares[policy] = float((played.rows["endpoint"] == 1).mean())

    assert shares.pop("round-robin") == 0.5
    assert min(shares.values()) > 0.55, shares


def test_adapters_reach_the_engine_and_have_blocks_of_their_own() -> None:
    """Equal prompts are cached per adapter, and an engine with room for one swaps them."""
    loras = ("ada", "bob")
    names = ["ada", "ada", "", "", "bob", "bob", "ada"]
    load = [session(f"{i}", ask(1, 320, at_s=2.0 * i), lora=lora) for i, lora in enumerate(names)]
    slow_swap = replace(engine(loras=1), lora_load_s=0.5)

    played = play(offered(load), [slow_swap], loras=loras)

    rows = played.rows
    ttft_s = rows["first_token_s"] - rows["sent_s"]
    assert rows["cached_tokens"].tolist() == [0, 304, 0, 304, 0, 304, 304]
    assert rows["cached_predicted_tokens"].tolist() == rows["cached_tokens"].tolist()
    assert (ttft_s > 0.5).tolist() == [True, False, False, False, True, False, True]


def evicting(count: int, back_to: int) -> list[Session]:
    """Prompts that push each other out, and then the one of a number again."""
    seeds = [*range(count), back_to]
    return [session(f"{i}", ask(1 + seed, 320, at_s=float(i))) for i, seed in enumerate(seeds)]


@pytest.mark.parametrize("tier", ["none", "host", "storage"])
def test_what_the_device_evicted_is_found_on_the_tiers_below(tier: str) -> None:
    """All of it but the last token's block; without a tier it is computed again."""
    host = HOST if tier == "host" else None
    spec = engine(700, host=host, mounts_storage=tier == "storage")

    played = play(offered(evicting(5, 0)), [spec], storage=STORAGE)

    assert played.rows["cached_tokens"].tolist() == [0] * 5 + [0 if tier == "none" else 304]
    assert played.outcome.overall.cached_predicted_error_tokens == 0


def test_storage_serves_what_another_pod_computed() -> None:
    """Host memory does not: it is a pod's own."""
    load = [session(f"{i}", ask(1, 320, at_s=float(i))) for i in range(2)]
    cached = {}
    for name, spec in {"host": engine(host=HOST), "storage": engine(mounts_storage=True)}.items():
        played = play(offered(list(load)), [spec] * 2, "round-robin", storage=STORAGE)
        assert sorted(played.rows["endpoint"].tolist()) == [0, 1]
        cached[name] = played.rows["cached_tokens"].tolist()

    assert cached == {"host": [0, 0], "storage": [0, 304]}


def test_loads_from_a_slow_tier_take_their_time() -> None:
    """A hit costs what the link costs, and no prefill."""
    ttft_s = []
    for load_s in (1e-6, 1e-2):
        spec = engine(700, host=TierSpec(4096, load_s, 0.0))
        rows = play(offered(evicting(5, 0)), [spec]).rows
        ttft_s.append(float(rows["first_token_s"][-1] - rows["sent_s"][-1]))

    assert ttft_s[1] - ttft_s[0] == pytest.approx(304 * (1e-2 - 1e-6), rel=1e-6)


def test_figures_are_those_of_the_log() -> None:
    """Only of measured stages; means over stages are weighted by their lengths."""
    stages = [
        Stage("warm-up", 0.0, iter(singles(20, 0.05, seed=1)), is_measured=False),
        Stage("one", 10.0, iter(singles(30, 0.1, seed=2))),
        Stage("two", 5.0, iter(singles(30, 0.2, seed=3))),
    ]

    played = play(Offered(iter(stages)), [engine()] * 2)

    rows, outcome = played.rows, played.outcome
    measured = rows[rows["stage"] > 0]
    assert [(s.label, s.offered_per_s) for s in outcome.stages] == [("one", 10.0), ("two", 5.0)]
    assert [s.figures.requests for s in outcome.stages] == [30, 30]
    assert outcome.overall.requests == 60
    ttft_s = measured["first_token_s"] - measured["sent_s"]
    assert outcome.overall.ttft.mean_s == pytest.approx(float(ttft_s.mean()))
    length_s = sum(s.figures.duration_s for s in outcome.stages)
    assert outcome.overall.duration_s == pytest.approx(length_s)
    assert outcome.overall.output_tokens_per_s == pytest.approx(60 * 8 / length_s)
    # Each measured request has 7 gaps, and warm-up has none in the histogram.
    assert outcome.overall.itl.mean_s == pytest.approx(
        float(((measured["ended_s"] - measured["first_token_s"]) / 7).mean()), rel=0.03
    )
    assert outcome.virtual_s == float(np.max(rows["ended_s"]))
    assert outcome.decisions == 80


def test_a_load_without_a_request_gives_empty_figures() -> None:
    """A low rate for a short while may draw none."""
    outcome = play(offered([], []), [engine()]).outcome

    assert outcome.overall.requests == 0
    assert outcome.overall.success_share is None
    assert [stage.figures.requests for stage in outcome.stages] == [0, 0]
