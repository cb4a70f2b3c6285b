"""Pods that slow down, hang and die: who is hurt, who is retried, and that everything ends."""

from dataclasses import replace

import numpy as np
import pytest

from sim.engine.integrity import check_integrity
from sim.engine.spec import TierSpec
from sim.environment import Environment, Fault
from sim.request_log import Rows, Status
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
    singles,
    stragglers,
)

LEASE_S = 3.0


def failing(*faults: Fault) -> Environment:
    """Clients see a lost connection after half a second, records go after three."""
    return replace(REPORTED, faults=faults, failure_timeout_s=0.5, lease_ttl_s=LEASE_S)


def sent_in(rows: Rows, start_s: float, end_s: float) -> Rows:
    """The requests that were sent in a span."""
    return rows[(rows["sent_s"] >= start_s) & (rows["sent_s"] < end_s)]


def took_s(rows: Rows) -> float:
    """Longest time from sending to the end."""
    return float((rows["ended_s"] - rows["sent_s"]).max())


def test_a_slow_pod_slows_its_own_requests_and_recovers() -> None:
    """By the factor, from its next step to the first one after the end; others notice nothing."""
    fault = Fault("slow", 0, at_s=4.0, duration_s=4.0, factor=4.0)

    rows = play(offered(singles(120, 0.1)), [engine()] * 2, "round-robin", failing(fault)).rows

    ours, others = rows[rows["endpoint"] == 0], rows[rows["endpoint"] == 1]
    healthy_s = took_s(sent_in(ours, 0.0, 3.5))
    assert took_s(sent_in(ours, 4.5, 7.5)) > 3 * healthy_s
    assert took_s(sent_in(ours, 9.0, 12.0)) == pytest.approx(healthy_s)
    assert took_s(others) == pytest.approx(healthy_s, rel=0.05)
    assert (rows["status"] == Status.COMPLETED).all()


def test_the_later_of_two_slow_downs_counts_to_its_own_end() -> None:
    """The end of the first one does not heal the pod."""
    faults = [Fault("slow", 0, at, 4.0, factor) for at, factor in ((2.0, 2.0), (4.0, 8.0))]

    rows = play(offered(singles(10, 1.0)), [engine()], environment=failing(*faults)).rows

    took = (rows["ended_s"] - rows["sent_s"]).round(9).tolist()
    one, two, three = took[0], took[2], took[4]
    assert (two, three) == (pytest.approx(2 * one, rel=0.1), pytest.approx(8 * one, rel=0.1))
    assert took == [one, one, two, two, three, three, three, three, one, one]


@pytest.mark.parametrize("policy", ["round-robin", "oracle"])
def test_a_hung_pod_delays_its_requests_until_it_wakes(policy: str) -> None:
    """Nothing of them is lost, and none of it ends in between."""
    fault = Fault("hang", 0, at_s=3.0, duration_s=5.0)

    rows = play(offered(singles(120, 0.1)), [engine()] * 2, policy, failing(fault)).rows

    ours = rows[rows["endpoint"] == 0]
    inside = (ours["ended_s"] > 3.0) & (ours["ended_s"] < 8.0)
    assert not inside.any()
    assert (rows["status"] == Status.COMPLETED).all()
    assert took_s(sent_in(rows, 9.0, 12.0)) < 1.0


def test_the_oracle_sends_nothing_to_a_pod_that_hangs() -> None:
    """It is idle, and so looks better than any busy one."""
    fault = Fault("hang", 0, at_s=3.15, duration_s=5.0)

    rows = play(offered(singles(60, 0.2)), [engine()] * 2, "oracle", failing(fault)).rows

    assert set(sent_in(rows, 3.15, 7.0)["endpoint"].tolist()) == {1}
    assert took_s(rows) < 1.0


def test_requests_of_a_dead_pod_are_served_by_the_next_one() -> None:
    """They are all completed, at the second attempt, and later by what the client waits."""
    fault = Fault("die", 1, at_s=3.02, duration_s=30.0)

    rows = play(offered(singles(120, 0.1)), [engine()] * 2, "round-robin", failing(fault)).rows

    assert (rows["status"] == Status.COMPLETED).all()
    retried = rows[rows["attempts"] > 1]
    assert retried.size > 0
    assert set(retried["attempts"].tolist()) == {2}
    assert set(retried["endpoint"].tolist()) == {0}
    # The first of them was in the pod when it died, the others came while it still had a record.
    assert retried["sent_s"].min() == 3.0
    assert retried["sent_s"].max() < 3.02 + LEASE_S
    assert (retried["first_token_s"] - retried["sent_s"] > 0.5).all()
    assert set(sent_in(rows, 3.0, 12.0)["endpoint"].tolist()) == {0}


def test_a_router_leaves_out_a_pod_that_failed_moments_ago() -> None:
    """Most of the requests that are sent before the record is gone need no second attempt."""
    fault = Fault("die", 0, at_s=3.0, duration_s=30.0)

    rows = play(offered(singles(400, 0.02)), [engine()] * 2, "round-robin", failing(fault)).rows

    within = sent_in(rows, 3.6, 3.0 + LEASE_S)
    assert within.size > 100
    assert (within["attempts"] == 1).mean() > 0.8


def test_a_stream_that_had_begun_is_lost_with_its_pod() -> None:
    """Nobody repeats an answer that was half told; its session goes on."""
    turns = [ask(1, 200, 300), ask(2, 50, 4)]
    fault = Fault("die", 0, at_s=2.0, duration_s=0.3)

    played = play(offered([session("s", *turns)]), [engine()], environment=failing(fault))

    lost, following = played.rows
    assert (lost["status"], lost["endpoint"], lost["output_tokens"]) == (Status.FAILED, -1, 0)
    assert lost["first_token_s"] < 2.0
    assert lost["ended_s"] == pytest.approx(2.5)
    assert (following["status"], following["output_tokens"]) == (Status.COMPLETED, 4)
    assert played.outcome.overall.failed == 1
    control = played.simulation.control_plane
    assert control is not None
    assert control.replicas[0].parts.outcomes.open_decisions == 0


def test_when_all_pods_are_dead_requests_fail_and_the_run_ends() -> None:
    """After as many attempts as there are pods, or at once when no record is left."""
    faults = [Fault("die", pod, at_s=3.0, duration_s=1000.0) for pod in range(2)]

    played = play(offered(singles(120, 0.1)), [engine()] * 2, environment=failing(*faults))

    rows = played.rows
    before, within, after = (
        sent_in(rows, *span) for span in ((0, 2.5), (3.0, 6.0 - 0.01), (6.1, 99))
    )
    assert (before["status"] == Status.COMPLETED).all()
    assert (within["status"] == Status.FAILED).all()
    assert set(within["attempts"].tolist()) == {2}
    assert (after["status"] == Status.FAILED).all()
    assert took_s(after) < 0.01
    assert played.outcome.virtual_s < 20
    assert played.outcome.overall.success_share == pytest.approx(len(before) / len(rows), abs=0.05)


def test_a_new_process_is_used_again_under_a_new_epoch() -> None:
    """With an empty cache, of which the router knows since its first report."""
    fault = Fault("die", 0, at_s=3.0, duration_s=4.0)
    again = [session(f"{i}", ask(1, 640, at_s=0.5 + i)) for i in range(14)]

    played = play(offered(again), [engine()], "precise-prefix", failing(fault))

    rows, control = played.rows, played.simulation.control_plane
    assert control is not None
    after = sent_in(rows, 7.0, 99)
    assert after.size == 7
    assert (after["status"] == Status.COMPLETED).all()
    assert after["cached_tokens"].tolist() == [0] + [624] * (after.size - 1)
    assert after["cached_predicted_tokens"].tolist() == after["cached_tokens"].tolist()
    (report,) = control.replicas[0].index.report()
    assert (report.epoch, report.confidence.name) == (2, "EXACT")


def test_a_record_comes_and_goes_with_the_lease() -> None:
    """A process that is back before its lease ends never left the fleet."""
    served = {}
    for down_s in (LEASE_S / 2, 3 * LEASE_S):
        fault = Fault("die", 0, at_s=2.0, duration_s=down_s)
        played = play(offered(singles(80, 0.1)), [engine()], environment=failing(fault))
        rows = sent_in(played.rows, 2.0 + LEASE_S + 0.1, 2.0 + LEASE_S + 0.9)
        served[down_s] = float((rows["status"] == Status.COMPLETED).mean())

    assert served == {LEASE_S / 2: 1.0, 3 * LEASE_S: 0.0}


def test_a_second_death_keeps_its_record_for_a_whole_lease() -> None:
    """The first one's end of lease says nothing of the process that came after."""
    faults = [Fault("die", 0, 2.0, 1.0), Fault("die", 0, 4.0, 20.0)]

    played = play(offered(singles(80, 0.1)), [engine()], environment=failing(*faults))

    within = sent_in(played.rows, 4.0, 4.0 + LEASE_S - 0.01)
    after = sent_in(played.rows, 4.0 + LEASE_S, 99)
    assert took_s(within) >= 0.5
    assert (within["ended_s"] - within["sent_s"]).min() >= 0.5
    assert took_s(after) < 0.01


def test_storage_outlives_the_pods() -> None:
    """A new process finds there what the old one computed, and its router says so."""
    fault = Fault("die", 0, at_s=3.0, duration_s=1.0)
    again = [session(f"{i}", ask(1, 320, at_s=6.0 * i)) for i in range(2)]
    spec = engine(host=HOST, mounts_storage=True)

    played = play(offered(again), [spec], environment=failing(fault), storage=TierSpec(4096, 1e-6))

    assert played.rows["cached_tokens"].tolist() == [0, 304]
    assert played.rows["cached_predicted_tokens"].tolist() == [0, 304]


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_every_request_ends_and_the_router_is_right_at_last(seed: int) -> None:
    """Faults on top of each other, lossy streams, tiers and three routers."""
    rng = np.random.default_rng(seed)
    kinds = ("slow", "hang", "die")
    faults = [
        Fault(kinds[int(k)], int(pod), float(at_s), float(long_s), 3.0)  # type: ignore[arg-type]
        for k, pod, at_s, long_s in zip(
            rng.integers(3, size=6),
            rng.integers(2, size=6),
            rng.uniform(0, 6, 6),
            rng.uniform(0.1, 4, 6),
            strict=True,
        )
    ]
    environment = replace(failing(*faults), routers=3, delta_loss=0.2, delta_reorder=0.2)
    sessions = crowd(40, 10, seed + 1)
    specs = [engine(1600, host=HOST, mounts_storage=True), engine(1600, mounts_storage=True)]
    specs.append(engine(2048))

    load = offered(sessions, stragglers())
    played = play(load, specs, "precise-prefix", environment, TierSpec(1600, 1e-6))

    assert_all_ended(played, sum(len(one.turns) for one in sessions) + 12)
    control = played.simulation.control_plane
    assert control is not None
    for replica in control.replicas:
        for pod, endpoint_id in enumerate(sorted(replica.parts.fleet.endpoints)):
            assert known(replica, endpoint_id) == held(played.simulation.engines, pod)


def assert_all_ended(played: Played, requests: int) -> None:
    """Completed ones have all of their answer; nothing is left in engines or routers."""
    rows, engines = played.rows, played.simulation.engines
    assert len(rows) == requests
    done = rows["status"] == Status.COMPLETED
    assert (rows["output_tokens"][done] > 0).all()
    assert (rows["output_tokens"][~done] == 0).all()
    assert (rows["ended_s"] > rows["sent_s"]).all()
    assert engines.in_flight == []
    check_integrity(engines)
    control = played.simulation.control_plane
    assert control is not None
    for replica in control.replicas:
        assert replica.parts.outcomes.open_decisions == 0


def test_a_fault_of_a_dead_pod_is_none() -> None:
    """No process is there that could hang; the new one starts healthy."""
    faults = [Fault("die", 0, 1.0, 3.0), Fault("hang", 0, 2.0, 8.0), Fault("die", 0, 2.5, 90.0)]

    rows = play(offered(singles(60, 0.1)), [engine()], environment=failing(*faults)).rows

    assert (sent_in(rows, 4.2, 99)["status"] == Status.COMPLETED).all()
    assert took_s(sent_in(rows, 4.2, 99)) < 1.0
