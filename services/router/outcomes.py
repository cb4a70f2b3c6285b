"""What became of decisions: reports to reservations, samples, health and statistics."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from farsight.keys import Keys
from farsight.pb.router_pb2 import Finished, ReportEvent
from services.router import metrics
from services.router.audit import Audit
from services.router.decisions import OpenDecision
from services.router.fleet import Fleet
from services.router.output_lengths import OutputLengths
from services.router.reservations import Reservations
from services.router.routed import RoutedPrompts
from services.router.samples import SampleSink, make_sample

# An open decision and its booking take some 3 KiB, so these are at most some 150 MiB.
MAX_OPEN = 50_000
KEEP_UNREPORTED_S = 900
RECENT_REQUESTS = 50
MAX_LATENCY_MS = 86_400_000.0


def now_unix_ms() -> int:
    """Wall clock, Unix milliseconds."""
    return int(time.time() * 1000)


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
        routed: RoutedPrompts,
        audit: Audit,
        lengths: OutputLengths,
        samples: SampleSink,
        unix_ms: Callable[[], int] = now_unix_ms,
    ) -> None:
        self._fleet = fleet
        self._reservations = reservations
        self._routed = routed
        self._audit = audit
        self._lengths = lengths
        self._samples = samples
        self._unix_ms = unix_ms
        self._open: OrderedDict[str, OpenDecision] = OrderedDict()
        self._changed = asyncio.Event()
        self.tallies: dict[str, EndpointTally] = {}

    @property
    def open_decisions(self) -> int:
        """Decisions whose end was not reported."""
        return len(self._open)

    async def all_ended(self) -> None:
        """Return when no decision is open."""
        while self._open:
            self._changed.clear()
            await self._changed.wait()

    def _close(self, decision_id: str) -> None:
        self._reservations.release(decision_id)
        del self._open[decision_id]
        self._changed.set()

    def opened(self, decision: OpenDecision, keys: Keys, is_indexed: bool) -> None:
        """A decision was made and booked.

        :param keys: the prompt's on the chosen endpoint.
        :param is_indexed: the index knows exactly that the endpoint holds them all.
        """
        self._open[decision.decision_id] = decision
        while len(self._open) > MAX_OPEN:
            self._close(next(iter(self._open)))
            metrics.reservations_expired.inc()
        endpoint_id = decision.endpoint_ids[0]
        self.tallies.setdefault(endpoint_id, EndpointTally()).requests += 1
        self._routed.decided(decision.decision_id, endpoint_id, keys, is_indexed)

    def void(self, endpoint_ids: frozenset[str]) -> None:
        """The caches of these endpoints are gone; statistics of those that left go, too."""
        for endpoint_id in endpoint_ids:
            self._routed.forget(endpoint_id)
            if endpoint_id in self._fleet.endpoints:
                self._audit.begin(endpoint_id)
            else:
                self._audit.forget(endpoint_id)
                self.tallies.pop(endpoint_id, None)
                metrics.forget_endpoint(endpoint_id)

    def expire(self) -> None:
        """End reservations whose lease ran out, and forget decisions that nobody reports on.

        A decision outlives its reservation: a report that comes late makes a sample as well.
        """
        metrics.reservations_expired.inc(len(self._reservations.expire()))
        oldest_unix_ms = self._unix_ms() - KEEP_UNREPORTED_S * 1000
        for _ in range(len(self._open)):
            decision_id, decision = next(iter(self._open.items()))
            if decision.decided_unix_ms > oldest_unix_ms:
                break
            if self._reservations.holds(decision_id):
                self._open.move_to_end(decision_id)
            else:
                self._close(decision_id)

    def take(self, event: ReportEvent) -> bool:
        """Apply one report; False when this replica has no such open decision."""
        kind = event.WhichOneof("event") or "empty"
        metrics.series(metrics.reports, kind).inc()
        decision = self._open.get(event.decision_id)
        if kind == "endpoint_failed":
            self._endpoint_failed(event, decision)
        elif decision is None:
            return False
        elif kind == "first_token":
            self._reservations.first_token(event.decision_id)
            self._routed.begun(event.decision_id)
        elif kind == "progress":
            self._reservations.progress(event.decision_id)
        elif kind == "finished":
            self._finished(decision, event.endpoint_id, event.finished)
        return decision is not None

    def _endpoint_failed(self, event: ReportEvent, decision: OpenDecision | None) -> None:
        self._fleet.failed(event.endpoint_id)
        if decision is not None:
            self._go_on(event, decision)
        self._routed.failed(event.endpoint_id)

    def _go_on(self, event: ReportEvent, decision: OpenDecision) -> None:
        """The request goes to another endpoint of the answer, or is given up."""
        next_endpoint_id = event.endpoint_failed.next_endpoint_id
        row = decision.position(next_endpoint_id)
        if row is None:
            self._routed.withdrawn(event.decision_id)
            self._close(event.decision_id)
        else:
            if next_endpoint_id in self._fleet.endpoints:
                self._routed.moved(event.decision_id, next_endpoint_id)
            uncached = decision.prompt_tokens - decision.cached_tokens[row]
            self._reservations.move(event.decision_id, decision.endpoint_ids[row], uncached)

    def _finished(self, decision: OpenDecision, endpoint_id: str, end: Finished) -> None:
        self._close(decision.decision_id)
        if end.status == Finished.STATUS_COMPLETED:
            self._routed.begun(decision.decision_id)
        else:
            self._routed.withdrawn(decision.decision_id)
        row = decision.position(endpoint_id)
        measured = (end.ttft_ms, end.tpot_ms, end.e2e_ms)
        if row is None or not all(0 <= ms <= MAX_LATENCY_MS for ms in measured):
            metrics.series(metrics.samples, "refused").inc()
            return
        self._samples.send(make_sample(decision, endpoint_id, row, end))
        if end.status != Finished.STATUS_COMPLETED:
            return
        self._fleet.served(endpoint_id)
        self._lengths.finished(decision.model, end.output_tokens)
        if endpoint_id in self._fleet.endpoints:
            self._tally(decision, endpoint_id, row, end)

    def _tally(self, decision: OpenDecision, endpoint_id: str, row: int, end: Finished) -> None:
        tally = self.tallies.setdefault(endpoint_id, EndpointTally())
        if end.ttft_ms:
            latency = decision.latency(row)
            tally.ttft_ms.append((latency.ttft_q50_ms, end.ttft_ms))
            metrics.ttft_error_ratio.observe(end.ttft_ms / latency.ttft_q50_ms)
            metrics.series(
                metrics.ttft_within_q90, str(end.ttft_ms <= latency.ttft_q90_ms).lower()
            ).inc()
        if end.HasField("cached_tokens"):
            predicted = decision.cached_tokens[row]
            tally.cached_tokens_predicted += predicted
            tally.cached_tokens_actual += end.cached_tokens
            tally.prompt_tokens += decision.prompt_tokens
            metrics.series(metrics.cached_tokens_predicted, endpoint_id).inc(predicted)
            metrics.series(metrics.cached_tokens_actual, endpoint_id).inc(end.cached_tokens)
            metrics.series(metrics.prompt_tokens, endpoint_id).inc(decision.prompt_tokens)
            endpoint = self._fleet.endpoints[endpoint_id]
            self._audit.take(
                decision, row, end.cached_tokens, endpoint.block_size_tokens, endpoint.epoch
            )

    def recent_ttft_ms(self, endpoint_id: str) -> tuple[float, float]:
        """Mean predicted and measured TTFT of the most recent requests; zeros without any."""
        tally = self.tallies.get(endpoint_id)
        if tally is None or not tally.ttft_ms:
            return 0.0, 0.0
        predicted, measured = np.mean(np.array(tally.ttft_ms), axis=0).tolist()
        return predicted, measured
