"""One router replica: the services' own parts over an index and a predictor in process."""

from collections.abc import Callable, Mapping, Sequence
from random import Random

from farsight.index.local import LocalIndex
from farsight.index.match import IndexReader, Matches
from farsight.index.state import KvIndex
from farsight.keys import Keys
from farsight.latency.local import LocalPredictor
from farsight.latency.predictions import LatencyModel
from farsight.pb.events_pb2 import Load
from farsight.replicas import ReplicasAway
from services.router.approximate import ApproximateMemory
from services.router.audit import Audit
from services.router.fleet import Fleet
from services.router.forecast import Forecaster
from services.router.outcomes import Outcomes
from services.router.output_lengths import OutputLengths
from services.router.prefixes import PrefixLookup
from services.router.profiles import LIVE_KEY, Profiles
from services.router.prompts import Prompts
from services.router.reservations import Reservations
from services.router.route import RequestRouter, RouterParts
from services.router.routed import RoutedPrompts
from services.router.samples import SampleSink
from services.router.speculative import SpeculativePrompts
from services.router.tokenizers import Tokenizers
from sim.clock import VirtualClock
from sim.policy import Policy

# Settings of the router service, as shipped.
INHIBIT_S = 2.0
LEASE_S = 600.0
DEFAULT_OUTPUT_TOKENS = 128
SPECULATIVE_S = 2.0
# llm-d's approximate producer: 31,250 blocks of 64 tokens per server.
APPROXIMATE_BLOCKS = 125_000


class _NoIndex:
    """No indexer is there: the router falls back to what it routed."""

    async def match(self, keys: Keys, endpoint_ids: Sequence[str]) -> Matches:
        raise ReplicasAway("none")


class Replica:
    """Owns one router and its read replica of the index."""

    def __init__(
        self,
        name: str,
        policy: Policy,
        clock: VirtualClock,
        models: Mapping[str, LatencyModel],
        samples: SampleSink,
        wants_snapshot: Callable[[str], None],
        random: Random,
    ) -> None:
        self.has_index = policy.index == "exact"
        self.index = KvIndex(clock, wants_snapshot)
        reader: IndexReader = LocalIndex(self.index) if self.has_index else _NoIndex()
        fleet = Fleet(INHIBIT_S, clock)
        memory = ApproximateMemory(APPROXIMATE_BLOCKS)
        routed = RoutedPrompts(name, fleet, memory, SpeculativePrompts(SPECULATIVE_S, clock))
        audit = Audit(name, clock.unix_ms)
        reservations = Reservations(name, LEASE_S, clock)
        lengths = OutputLengths(DEFAULT_OUTPUT_TOKENS)
        profiles = Profiles("predicted")
        profiles.update({"policy": policy.profile_text.encode(), LIVE_KEY: b"policy"})
        self.parts = RouterParts(
            fleet=fleet,
            prompts=Prompts(Tokenizers(), {}),
            prefixes=PrefixLookup(reader, routed),
            forecaster=Forecaster(LocalPredictor(models)),
            reservations=reservations,
            profiles=profiles,
            lengths=lengths,
            outcomes=Outcomes(fleet, reservations, routed, audit, lengths, samples, clock.unix_ms),
            routed=routed,
            audit=audit,
            random=random,
            clock=clock,
            unix_ms=clock.unix_ms,
        )
        self.router = RequestRouter(self.parts)

    def register(self, records: Mapping[str, bytes]) -> None:
        """Take what etcd holds of the endpoints."""
        self.parts.outcomes.void(self.parts.fleet.update(records))

    def hear_load(self, subject: str, load: Load, data: bytes) -> None:
        """Take one load report, which is the heartbeat of the KV stream, too."""
        self.parts.fleet.on_load(subject, data)
        if self.has_index:
            self.index.heard(load)
