"""One try of one request at one endpoint: its clock, and what the router is told of it."""

import time
from collections.abc import Callable

from farsight.client import Decision, RouterClient
from farsight.pb.router_pb2 import EndpointFailed, Finished, FirstToken, ReportEvent, RoutedEndpoint
from services.gateway import metrics
from services.gateway.usage import Usage

COMPLETED = Finished.STATUS_COMPLETED
CANCELLED = Finished.STATUS_CANCELLED
FAILED = Finished.STATUS_FAILED


class Trial:
    """Made at dispatch; times are milliseconds from then on."""

    def __init__(
        self,
        router: RouterClient,
        decision: Decision,
        endpoint: RoutedEndpoint,
        arrived_s: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._router = router
        self._arrived_s = arrived_s
        self._clock = clock
        self._dispatched_s = clock()
        self._ttft_ms = 0.0
        self._ended = False
        self.decision = decision
        self.endpoint = endpoint

    def _since_dispatch_ms(self) -> float:
        return (self._clock() - self._dispatched_s) * 1000

    def first_token(self) -> None:
        """The first token is here; later calls change nothing."""
        if self._ttft_ms:
            return
        self._ttft_ms = self._since_dispatch_ms()
        metrics.ttft_seconds.observe(self._clock() - self._arrived_s)
        self._report(ReportEvent(first_token=FirstToken(ttft_ms=self._ttft_ms)))

    def finished(self, status: Finished.Status.ValueType, usage: Usage | None) -> None:
        """The request ended at this endpoint; later calls change nothing."""
        if self._ended:
            return
        self._ended = True
        e2e_ms = self._since_dispatch_ms()
        event = Finished(status=status, ttft_ms=self._ttft_ms, e2e_ms=e2e_ms)
        if usage is not None:
            event.prompt_tokens = usage.prompt_tokens
            event.output_tokens = usage.output_tokens
            if usage.cached_tokens is not None:
                event.cached_tokens = usage.cached_tokens
            if self._ttft_ms and usage.output_tokens > 1:
                event.tpot_ms = (e2e_ms - self._ttft_ms) / (usage.output_tokens - 1)
        if status == COMPLETED:
            metrics.e2e_seconds.observe(self._clock() - self._arrived_s)
            if event.tpot_ms:
                metrics.tpot_seconds.observe(event.tpot_ms / 1000)
        self._report(ReportEvent(finished=event))

    def endpoint_failed(self, reason: str, next_endpoint_id: str) -> None:
        """The endpoint did not serve the request; an empty next one gives the decision up."""
        failed = EndpointFailed(reason=reason, next_endpoint_id=next_endpoint_id)
        self._report(ReportEvent(endpoint_failed=failed))

    def _report(self, event: ReportEvent) -> None:
        event.decision_id = self.decision.reply.decision_id
        event.endpoint_id = self.endpoint.endpoint_id
        self._router.report(self.decision, event)
