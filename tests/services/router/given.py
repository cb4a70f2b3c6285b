"""Rosters, candidates, requests and routers for the tests of the router."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np
import numpy.typing as npt

from farsight.bus import Bus
from farsight.discovery import encode_record
from farsight.index.match import Confidence, Matches
from farsight.keys import Keys
from farsight.latency.features import FeatureMatrix
from farsight.latency.model import AnalyticModel
from farsight.latency.remote import Answer
from farsight.pb.events_pb2 import InFlightDelta
from farsight.pb.records_pb2 import EndpointRecord
from farsight.replicas import ReplicasAway
from services.router.approximate import ApproximateMemory
from services.router.audit import Audit
from services.router.candidates import Candidates, RequestView
from services.router.decisions import OpenDecision
from services.router.fleet import Fleet
from services.router.forecast import Forecaster
from services.router.outcomes import Outcomes, now_unix_ms
from services.router.output_lengths import OutputLengths
from services.router.prefixes import PrefixLookup
from services.router.profiles import Profiles
from services.router.prompts import Prompt, Prompts, RouteCall
from services.router.reservations import Reservations
from services.router.roster import Roster, endpoint_of
from services.router.route import RouterParts
from services.router.routed import RoutedPrompts
from services.router.samples import SampleSender
from services.router.speculative import SpeculativePrompts
from services.router.tokenizers import Tokenizers

MODEL = "m"


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def record(endpoint_id: str, **given: object) -> EndpointRecord:
    """A valid endpoint record."""
    made = EndpointRecord(
        endpoint_id=endpoint_id,
        url=f"http://{endpoint_id}:8000",
        pool="pool",
        model=MODEL,
        block_size_tokens=16,
        key_block_tokens=16,
        epoch=1,
        accelerator="H100",
    )
    for name, value in given.items():
        if isinstance(value, list):
            getattr(made, name).extend(value)
        else:
            setattr(made, name, value)
    return made


def stored(*records: EndpointRecord) -> dict[str, bytes]:
    """Records as the mapping that etcd gives."""
    return {r.endpoint_id: encode_record(r) for r in records}


def roster(*records: EndpointRecord, model: str = MODEL) -> Roster:
    """A roster of the records."""
    endpoints = [endpoint_of(r) for r in records]
    return Roster.of(model, 1, endpoints, list(range(len(endpoints))))


def candidates(count: int, **columns: Sequence[float]) -> Candidates:
    """Idle candidates with nothing cached of a 1,000-token prompt, but for the given columns."""
    zeros = np.zeros(count)
    made = {
        "block_size_tokens": zeros + 16,
        "device_tokens": zeros,
        "host_tokens": zeros,
        "storage_tokens": zeros,
        "cached_tokens": zeros,
        "speculative_tokens": zeros,
        "uncached_tokens": zeros + 1000,
        "index_age_ms": zeros,
        "load_age_ms": zeros + 100,
        "waiting_requests": zeros,
        "running_requests": zeros,
        "kv_usage_ratio": zeros,
        "in_flight_requests": zeros,
        "in_flight_decoding": zeros,
        "in_flight_prefill_tokens": zeros,
        "in_flight_context_tokens": zeros,
        "prefill_ms_per_token": zeros + 0.1,
        "ttft_q50_ms": zeros + 100,
        "ttft_q90_ms": zeros + 150,
        "tpot_q50_ms": zeros + 10,
        "tpot_q90_ms": zeros + 15,
    } | {name: np.array(column, np.float64) for name, column in columns.items()}
    inhibited = made.pop("inhibited", zeros).astype(np.bool_)
    return Candidates(
        endpoint_ids=tuple(f"e{i}" for i in range(count)),
        confidence=np.full(count, Confidence.EXACT, np.uint8),
        inhibited=inhibited,
        **made,
    )


def view(
    prompt_tokens: int = 1000,
    slo_ttft_ms: float | None = None,
    slo_tpot_ms: float | None = None,
    turn: int = 1,
    draw: float = 0.0,
    session_id: str = "",
) -> RequestView:
    """A request that expects 100 tokens."""
    return RequestView(prompt_tokens, 100.0, slo_ttft_ms, slo_tpot_ms, 0, session_id, turn, draw)


def call(
    prompt: Prompt | None = None,
    model: str = MODEL,
    exclude: Collection[str] = (),
    profile: str = "",
    slo_ttft_ms: float | None = None,
    session_id: str = "",
) -> RouteCall:
    """A call, of 2,000 token ids unless told."""
    tokens = np.arange(2000, dtype=np.uint32) if prompt is None else prompt
    return RouteCall(
        "r", model, tokens, slo_ttft_ms, None, 0, 0, "", profile, frozenset(exclude), session_id
    )


@dataclass
class ScriptedIndex:
    """An index that knows what the test says: blocks per endpoint and tier, and a confidence."""

    blocks: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    confidence: int = Confidence.EXACT
    away: str = ""
    asked: list[tuple[Keys, tuple[str, ...]]] = field(default_factory=list)

    async def match(self, keys: Keys, endpoint_ids: Sequence[str]) -> Matches:
        """Answer, or be away for the reason."""
        self.asked.append((keys, tuple(endpoint_ids)))
        if self.away:
            raise ReplicasAway(self.away)
        known = [e for e in endpoint_ids if e in self.blocks]
        columns = np.array([self.blocks[e] for e in known], np.uint32).reshape(-1, 3)
        return Matches(
            tuple(known),
            columns[:, 0],
            columns[:, 1],
            columns[:, 2],
            np.full(len(known), 5, np.uint32),
            np.full(len(known), self.confidence, np.uint8),
        )


@dataclass
class ScriptedPredictor:
    """The analytic model under a bundle version; waits for `gate`, or is away for a reason."""

    version: int = 7
    away: str = ""
    gate: asyncio.Event | None = None
    waiting: int = 0

    async def predict(self, model: str, matrix: FeatureMatrix) -> Answer:
        """Answer when the gate is open."""
        if self.away:
            raise ReplicasAway(self.away)
        if self.gate is not None:
            self.waiting += 1
            await self.gate.wait()
        return Answer(self.version, AnalyticModel().predict(matrix))


def parts(
    *records: EndpointRecord,
    index: ScriptedIndex | None = None,
    predictor: ScriptedPredictor | None = None,
    clock: Clock | None = None,
    profile: str = "predicted",
    bus: Bus | None = None,
    unix_ms: Callable[[], int] = now_unix_ms,
) -> RouterParts:
    """A router's parts over in-process twins of index and predictor."""
    clock = clock or Clock()
    fleet = Fleet(2.0, clock)
    fleet.update(stored(*records))
    routed = routed_prompts(fleet, clock)
    audit = Audit("r1", unix_ms)
    known = {r.endpoint_id: (0, 0, 0) for r in records}
    reservations = Reservations("r1", 600, clock)
    lengths = OutputLengths(128)
    samples = SampleSender(bus or Bus("nats://127.0.0.1:1"))
    return RouterParts(
        fleet=fleet,
        prompts=Prompts(Tokenizers(), {}),
        prefixes=PrefixLookup(index or ScriptedIndex(known), routed),
        forecaster=Forecaster(predictor or ScriptedPredictor()),
        reservations=reservations,
        profiles=Profiles(profile),
        lengths=lengths,
        outcomes=Outcomes(fleet, reservations, routed, audit, lengths, samples, unix_ms),
        routed=routed,
        audit=audit,
        random=Random(1),
    )


def routed_prompts(
    fleet: Fleet | None = None, clock: Clock | None = None, speculative_s: float = 2.0
) -> RoutedPrompts:
    """What replica r1 remembers of routed prompts: 1,000 blocks of each endpoint."""
    clock = clock or Clock()
    fleet = fleet or Fleet(2.0, clock)
    speculative = SpeculativePrompts(speculative_s, clock)
    return RoutedPrompts("r1", fleet, ApproximateMemory(1000), speculative)


def told(made: Reservations, full: bool = False) -> InFlightDelta:
    """An announcement that there is."""
    delta = made.announcement(full, 1)
    assert delta is not None
    return delta


def opened(
    decision_id: str = "d", endpoint_ids: Sequence[str] = ("e0", "e1"), decided_unix_ms: int = 1
) -> OpenDecision:
    """An open decision of a 100-token prompt, 32 tokens of which are cached on the first one."""
    count = len(endpoint_ids)
    return OpenDecision(
        decision_id=decision_id,
        request_id="r",
        model=MODEL,
        base_model=MODEL,
        pool="pool",
        profile="predicted",
        endpoint_ids=tuple(endpoint_ids),
        accelerators=("H100",) * count,
        matrix=np.arange(count * 12, dtype=np.float32).reshape(count, 12),
        quantiles_ms=np.tile(np.array([100, 150, 10, 15], np.float32), (count, 1)),
        cached_tokens=(32, *(0,) * (count - 1)),
        indexed_tokens=(32, *(0,) * (count - 1)),
        confidence=(Confidence.EXACT,) * count,
        prompt_tokens=100,
        bundle_version=3,
        decision_ms=1.5,
        decided_unix_ms=decided_unix_ms,
    )


def tokens(count: int, start: int = 0) -> npt.NDArray[np.uint32]:
    """Token ids that rise by one."""
    return np.arange(start, start + count, dtype=np.uint32)
