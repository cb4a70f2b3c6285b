"""One router replica of the simulation is the service's, as shipped."""

from random import Random

from farsight.pb.events_pb2 import Load, Sample
from farsight.pb.types_pb2 import CONFIDENCE_EXACT
from services.router.settings import RouterSettings
from sim import replica
from sim.clock import VirtualClock
from sim.pods import MODEL, Pods
from sim.policy import load_policy
from sim.replica import Replica
from tests.services.router.given import call, tokens
from tests.sim.small_fleets import engine


class NoSamples:
    """Nobody trains."""

    def send(self, sample: Sample) -> None:
        """Take one sample."""


def made(policy: str) -> tuple[Replica, Pods]:
    """A replica that knows the records of three pods and has heard from each."""
    pods = Pods([engine()] * 3, ())
    one = Replica("router-0", load_policy(policy), VirtualClock(), {}, NoSamples(),
                  lambda endpoint_id: None, Random(1))  # fmt: skip
    one.register(pods.records())
    for endpoint_id in pods.ids:
        load = Load(endpoint_id=endpoint_id, epoch=1, kv_confidence=CONFIDENCE_EXACT)
        one.hear_load("load", load, load.SerializeToString())
    return one, pods


def test_its_settings_are_those_of_the_service() -> None:
    """Nothing is tuned for the simulation; only the routing history is llm-d's."""
    shipped = RouterSettings.model_construct()

    assert shipped.inhibit_s == replica.INHIBIT_S
    assert shipped.reservation_lease_s == replica.LEASE_S
    assert shipped.default_output_tokens == replica.DEFAULT_OUTPUT_TOKENS
    assert shipped.speculative_s == replica.SPECULATIVE_S


async def test_it_decides_with_the_profile_of_its_policy() -> None:
    """Not with the router's default one."""
    one, pods = made("round-robin")

    chosen = [
        (await one.router.route(call(tokens(100), MODEL), 0.0)).opened.endpoint_ids[0]
        for _ in range(3)
    ]

    assert sorted(chosen) == list(pods.ids)


async def test_with_an_index_its_answers_are_exact() -> None:
    """A report is the heartbeat of an empty cache, too."""
    one, pods = made("precise-prefix")

    decision = await one.router.route(call(tokens(100), MODEL), 0.0)

    assert decision.fallbacks == ()
    assert [report.endpoint_id for report in one.index.report()] == list(pods.ids)


async def test_without_an_index_it_says_what_it_went_by() -> None:
    """The named fallback of a router that has no indexer."""
    one, _ = made("approximate-prefix")

    decision = await one.router.route(call(tokens(100), MODEL), 0.0)

    assert decision.fallbacks == ("index-none",)
    assert one.index.report() == []
