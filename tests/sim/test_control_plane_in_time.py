"""How late routers hear of loads and of each other, and how long a silent client counts."""

from dataclasses import replace

import numpy as np
import pytest

from farsight.errors import UnknownModel
from farsight.index.match import Confidence
from farsight.pb.events_pb2 import KvDoubt
from farsight.pb.router_pb2 import Finished, ReportEvent
from services.router.route import MIN_LEASE_S
from sim.environment import Environment
from sim.pods import MODEL
from tests.sim.small_fleets import REPORTED, engine, offered, play, singles
from tests.sim.wired import Wired, asked


@pytest.mark.parametrize("interval_s", [0.25, 2.0])
async def test_loads_are_as_stale_as_the_interval_says(interval_s: float) -> None:
    """A router's view of a pod is never older, and often nearly as old."""
    wired = Wired(Environment(load_interval_s=interval_s), pods=3)
    fleet = wired.control.replicas[0].parts.fleet
    ages_ms = []

    for _ in range(400):
        await wired.pass_time(interval_s / 50)
        ages_ms += [fleet.load_age_ms(endpoint_id) for endpoint_id in wired.pods.ids]

    assert max(ages_ms) <= interval_s * 1000 + 1e-6
    assert max(ages_ms) >= 0.9 * interval_s * 1000
    assert np.mean(ages_ms) == pytest.approx(interval_s * 500, rel=0.1)


async def test_pods_do_not_report_all_at_once() -> None:
    """Each has its own phase, but every one is heard at the start."""
    wired = Wired(Environment(load_interval_s=1.0), pods=4)
    fleet = wired.control.replicas[0].parts.fleet
    at_start = [fleet.load_age_ms(endpoint_id) for endpoint_id in wired.pods.ids]

    await wired.pass_time(5.0)
    ages_ms = [fleet.load_age_ms(endpoint_id) for endpoint_id in wired.pods.ids]

    assert at_start == [0.0] * 4
    assert len({round(age_ms, 3) for age_ms in ages_ms}) == 4


async def test_what_a_pod_does_is_seen_with_its_next_report() -> None:
    """Not before; what was reported then stays until the one after."""
    wired = Wired(Environment(load_interval_s=1.0))
    fleet = wired.control.replicas[0].parts.fleet
    roster = fleet.serving(MODEL, ())
    await wired.pass_time(3.0)

    wired.occupy(1, 5)
    seen = []
    for _ in range(20):
        seen.append(fleet.loads(roster).running_requests.tolist())
        await wired.pass_time(0.1)

    assert seen[0] == [0, 0]
    assert seen[-1] == [0, 5]
    assert sorted(seen) == seen


async def test_a_decision_counts_for_its_router_at_once_and_for_others_when_announced() -> None:
    """So does its end."""
    wired = Wired(Environment(routers=3, announce_interval_s=0.5))
    verdict = await wired.decide(1)
    own = wired.in_flight(1)
    others = [wired.in_flight(0), wired.in_flight(2)]
    await wired.pass_time(0.6)
    announced = [wired.in_flight(router) for router in range(3)]

    ended = ReportEvent(
        decision_id=verdict.decision_id,
        endpoint_id=wired.pods.ids[verdict.pods[0]],
        finished=Finished(status=Finished.STATUS_COMPLETED, output_tokens=8),
    )
    wired.control.report(1, ended)
    after = [sum(wired.in_flight(router)) for router in range(3)]
    await wired.pass_time(0.6)

    assert sum(own) == 1
    assert others == [[0, 0], [0, 0]]
    assert announced == [own] * 3
    assert after == [1, 0, 1]
    assert [sum(wired.in_flight(router)) for router in range(3)] == [0, 0, 0]


async def test_a_client_that_never_reports_is_counted_until_its_lease_ends() -> None:
    """By all routers; then by none."""
    wired = Wired(Environment(routers=2))
    await wired.decide(0)

    await wired.pass_time(MIN_LEASE_S - 1)
    within = [sum(wired.in_flight(router)) for router in range(2)]
    await wired.pass_time(3)

    assert within == [1, 1]
    assert [sum(wired.in_flight(router)) for router in range(2)] == [0, 0]


def test_lost_reports_leave_their_reservations() -> None:
    """Of all requests, of none, or of the share that is told; the requests themselves go well."""
    left = {}
    for share in (0.0, 0.5, 1.0):
        environment = replace(REPORTED, report_loss=share)
        played = play(offered(singles(60, 0.1)), [engine()] * 2, environment=environment)
        control = played.simulation.control_plane
        assert control is not None
        parts = control.replicas[0].parts
        booked = parts.reservations.in_flight(("pod-000", "pod-001")).requests.sum()
        assert booked == parts.outcomes.open_decisions
        assert (played.rows["status"] == 0).all()
        left[share] = booked

    assert left[0.0] == 0
    assert 15 < left[0.5] < 45
    assert left[1.0] == 60


async def test_a_late_report_reaches_the_router_that_decided() -> None:
    """And no other: it has no such decision."""
    wired = Wired(Environment(routers=2))
    verdicts = [await wired.decide(number) for number in (0, 1)]

    for number, verdict in zip((1, 0), verdicts, strict=True):
        end = ReportEvent(
            decision_id=verdict.decision_id,
            endpoint_id=wired.pods.ids[verdict.pods[0]],
            finished=Finished(status=Finished.STATUS_COMPLETED),
        )
        wired.control.report(number, end)

    assert [sum(wired.in_flight(router)) for router in range(2)] == [1, 1]


async def test_without_a_pod_there_is_no_verdict() -> None:
    """All records are gone; a model that never was is an error of the set-up."""
    wired = Wired(Environment())
    for pod in range(2):
        wired.pods.withdraw(pod)
    wired.control.publish_records()

    assert await wired.control.decide(asked(1)) is None
    with pytest.raises(UnknownModel):
        await wired.control.decide(replace(asked(2), model="another"))


async def test_a_router_expects_its_prompts_at_once_and_the_others_when_they_are_told() -> None:
    """The pod has begun none of them: nothing but the decision stands for them."""
    wired = Wired(Environment(routers=2, announce_interval_s=0.02), policy="precise-prefix")

    first = await wired.decide(0)
    again = await wired.decide(2)
    other = await wired.decide(1, seed=2)
    await wired.pass_time(0.05)
    told = [await wired.decide(number, seed) for number, seed in ((1, 1), (0, 2))]

    assert (first.cached_tokens, max(again.cached_tokens)) == ((0, 0), 304)
    assert again.pods[0] == first.pods[0]
    assert max(other.cached_tokens) == 0
    assert [max(verdict.cached_tokens) for verdict in told] == [304, 304]


async def test_a_doubt_of_one_router_reaches_every_index() -> None:
    """Which asks for a snapshot and is exact again."""
    wired = Wired(Environment(routers=2))
    replicas, endpoint_id = wired.control.replicas, wired.pods.ids[0]
    await wired.pass_time(1.5)

    doubt = KvDoubt(endpoint_id=endpoint_id, epoch=wired.pods.epochs[0], router_id="router-0")
    replicas[0].parts.audit._doubts.append(doubt)
    seen = set()
    for _ in range(200):
        await wired.pass_time(0.01)
        seen |= {(i, r.index.report()[0].confidence) for i, r in enumerate(replicas)}

    assert {(0, Confidence.DEGRADED), (1, Confidence.DEGRADED)} <= seen
    assert [r.index.report()[0].confidence for r in replicas] == [Confidence.EXACT] * 2
