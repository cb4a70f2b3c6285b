"""What became of decisions: reports to reservations, samples, health and statistics."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from farsight.index.match import Confidence
from farsight.pb.router_pb2 import Finished, ReportEvent
from services.router import metrics
from services.router.approximate import ApproximateMemory
from services.router.decisions import OpenDecision
from services.router.fleet import Fleet
from services.router.output_lengths import OutputLengths
from services.router.reservations import Reservations
from services.router.samples import SampleSender, make_sample

MAX_OPEN = 200_000
RECENT_REQUESTS = 50
MAX_LATENCY_MS = 86_400_000.0


@dataclass(slots=True)
class EndpointTally:
    """Sums over finished requests of one endpoint that reported cached tokens."""

    requests: int = 0
    cached_tokens_predicted: int = 0
    cached_tokens_actual: int = 0
    prompt_tokens: int = 0
    ttft_ms: deque[tuple[float, float]] = field(
        default_factory=lambda: deque(maxlen=RECENT_REQUESTS)
    )
    """Predicted and measured TTFT of the most recent requests."""


class Outcomes:
    """Owns the open decisions of this replica."""

    def __init__(
        self,
        fleet: Fleet,
        reservations: Reservations,
        memory: ApproximateMemory,
        lengths: OutputLengths,
        samples: SampleSender,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fleet = fleet
        self._reservations = reservations
        self._memory = memory
        self._lengths = lengths
        self._samples = samples
        self._clock = clock
        self._open: OrderedDict[str, OpenDecision] = OrderedDict()
        self.tallies: dict[str, EndpointTally] = {}
        self.confidence: dict[str, Confidence] = {}

    def opened(self, decision: OpenDecision, row: int, confidence: Sequence[Confidence]) -> None:
        """A decision was made for the candidate of `row`."""
        self.confidence.update(zip(decision.endpoint_ids, confidence, strict=True))
        self._open[decision.decision_id] = decision
        while len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)
        endpoint_id = decision.endpoint_ids[row]
        self.tallies.setdefault(endpoint_id, EndpointTally()).requests += 1
        self._memory.routed(endpoint_id, decision.keys[row])

    def expire(self) -> None:
        """Close decisions whose reservation ran out."""
        for decision_id in self._reservations.expire():
            self._open.pop(decision_id, None)
            metrics.reservations_expired.inc()

    def take(self, event: ReportEvent) -> bool:
        """Apply one report; False when this replica has no such open decision."""
        kind = event.WhichOneof("event") or "empty"
        metrics.reports.labels(kind).inc()
        decision = self._open.get(event.decision_id)
        if kind == "endpoint_failed":
            self._endpoint_failed(event, decision)
        elif decision is None:
            return False
        elif kind == "first_token":
            self._reservations.first_token(event.decision_id)
        elif kind == "progress":
            self._reservations.progress(event.decision_id)
        elif kind == "finished":
            self._finished(decision, event.endpoint_id, event.finished)
        return decision is not None

    def _endpoint_failed(self, event: ReportEvent, decision: OpenDecision | None) -> None:
        self._fleet.failed(event.endpoint_id)
        if decision is None:
            return
        failure = event.endpoint_failed
        if failure.next_endpoint_id:
            self._reservations.move(event.decision_id, failure.next_endpoint_id)
        else:
            self._reservations.release(event.decision_id)
            self._open.pop(event.decision_id, None)

    def _finished(self, decision: OpenDecision, endpoint_id: str, end: Finished) -> None:
        self._reservations.release(decision.decision_id)
        self._open.pop(decision.decision_id, None)
        row = decision.position(endpoint_id)
        measured = (end.ttft_ms, end.tpot_ms, end.e2e_ms)
        if row is None or not all(0 <= ms <= MAX_LATENCY_MS for ms in measured):
            metrics.samples.labels("refused").inc()
            return
        self._samples.send(make_sample(decision, endpoint_id, row, end))
        if end.status != Finished.STATUS_COMPLETED:
            return
        self._fleet.served(endpoint_id)
        self._lengths.finished(decision.model, end.output_tokens)
        self._tally(decision, endpoint_id, row, end)

    def _tally(self, decision: OpenDecision, endpoint_id: str, row: int, end: Finished) -> None:
        tally = self.tallies.setdefault(endpoint_id, EndpointTally())
        if end.ttft_ms:
            latency = decision.latencies[row]
            tally.ttft_ms.append((latency.ttft_q50_ms, end.ttft_ms))
            metrics.ttft_error_ratio.observe(end.ttft_ms / latency.ttft_q50_ms)
            metrics.ttft_within_q90.labels(str(end.ttft_ms <= latency.ttft_q90_ms).lower()).inc()
        if end.HasField("cached_tokens"):
            predicted = decision.cached_tokens[row]
            tally.cached_tokens_predicted += predicted
            tally.cached_tokens_actual += end.cached_tokens
            tally.prompt_tokens += decision.prompt_tokens
            metrics.cached_tokens_predicted.labels(endpoint_id).inc(predicted)
            metrics.cached_tokens_actual.labels(endpoint_id).inc(end.cached_tokens)
            metrics.prompt_tokens.labels(endpoint_id).inc(decision.prompt_tokens)
            metrics.cached_error_tokens.observe(predicted - end.cached_tokens)

    def recent_ttft_ms(self, endpoint_id: str) -> tuple[float, float]:
        """Mean predicted and measured TTFT of the most recent requests; zeros without any."""
        tally = self.tallies.get(endpoint_id)
        if tally is None or not tally.ttft_ms:
            return 0.0, 0.0
        predicted, measured = np.mean(np.array(tally.ttft_ms), axis=0).tolist()
        return predicted, measured
