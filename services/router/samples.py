"""Finished decisions to the trainer: a bounded queue in front of a JetStream stream."""

import asyncio
import contextlib
from collections import deque
from typing import Protocol

from farsight.bus import Bus
from farsight.errors import BusUnavailable
from farsight.latency.features import DTYPE, SCHEMA_HASH
from farsight.log import get_logger
from farsight.pb import types_pb2
from farsight.pb.events_pb2 import Sample
from farsight.pb.router_pb2 import Finished
from farsight.samples import ensure_stream
from farsight.subjects import sample as sample_subject
from services.router import metrics
from services.router.decisions import Latency, OpenDecision

log = get_logger(__name__)

MAX_QUEUED = 10_000
RETRY_S = 1.0

_OUTCOMES = {
    Finished.STATUS_COMPLETED: Sample.OUTCOME_COMPLETED,
    Finished.STATUS_CANCELLED: Sample.OUTCOME_CANCELLED,
    Finished.STATUS_FAILED: Sample.OUTCOME_FAILED,
}


def latency_message(latency: Latency) -> types_pb2.LatencyPrediction:
    """Quantiles as their message."""
    return types_pb2.LatencyPrediction(
        ttft=types_pb2.Quantiles(q50_ms=latency.ttft_q50_ms, q90_ms=latency.ttft_q90_ms),
        tpot=types_pb2.Quantiles(q50_ms=latency.tpot_q50_ms, q90_ms=latency.tpot_q90_ms),
    )


def make_sample(decision: OpenDecision, endpoint_id: str, row: int, end: Finished) -> Sample:
    """The sample of a request that ended on the endpoint of `row`."""
    return Sample(
        decision_id=decision.decision_id,
        request_id=decision.request_id,
        model=decision.base_model,
        pool=decision.pool,
        endpoint_id=endpoint_id,
        accelerator=decision.accelerators[row],
        schema_hash=SCHEMA_HASH,
        features=decision.matrix[row].astype(DTYPE).tobytes(),
        predicted=latency_message(decision.latency(row)),
        bundle_version=decision.bundle_version,
        outcome=_OUTCOMES.get(end.status, Sample.OUTCOME_UNSPECIFIED),
        ttft_ms=end.ttft_ms,
        tpot_ms=end.tpot_ms,
        e2e_ms=end.e2e_ms,
        decision_ms=decision.decision_ms,
        prompt_tokens=decision.prompt_tokens,
        output_tokens=end.output_tokens,
        cached_tokens_predicted=decision.cached_tokens[row],
        cached_tokens_actual=end.cached_tokens if end.HasField("cached_tokens") else None,
        decided_unix_ms=decision.decided_unix_ms,
        profile=decision.profile,
    )


class SampleSink(Protocol):
    """Takes samples; a sender to NATS, or whoever trains in the same process."""

    def send(self, sample: Sample) -> None:
        """Take one sample."""
        ...


class SampleSender:
    """Sends samples in order; keeps the newest MAX_QUEUED while NATS is away."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._queue: deque[Sample] = deque()
        self._arrived = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def send(self, sample: Sample) -> None:
        """Queue a sample."""
        if len(self._queue) >= MAX_QUEUED:
            self._queue.popleft()
            metrics.samples.labels("dropped").inc()
        self._queue.append(sample)
        self._empty.clear()
        self._arrived.set()

    async def run(self) -> None:
        """Send what is queued; never returns."""
        ready = False
        while True:
            await self._arrived.wait()
            try:
                if not ready:
                    await ensure_stream(self._bus)
                    ready = True
                await self._send_next()
            except BusUnavailable as error:
                ready = False
                metrics.samples.labels("retried").inc()
                log.info("samples wait for NATS", extra={"error": str(error)})
                await asyncio.sleep(RETRY_S)

    async def _send_next(self) -> None:
        sample = self._queue[0]
        await self._bus.publish_durable(
            sample_subject(sample.model), sample.SerializeToString(), sample.decision_id
        )
        metrics.samples.labels("sent").inc()
        if self._queue and self._queue[0] is sample:
            self._queue.popleft()
        if not self._queue:
            self._arrived.clear()
            self._empty.set()

    async def drain(self, limit_s: float) -> None:
        """Wait until everything is sent, at most `limit_s`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), limit_s)
