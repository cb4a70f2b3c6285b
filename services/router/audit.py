"""Whether engines find cached what exact answers of the index said.

The rule: over the last WINDOW_REQUESTS audited requests of an endpoint, the mean error is more than
one engine block and more than MIN_TOKEN_SHARE of what was predicted (of what was found, when that
is more), and at least MIN_REQUEST_SHARE of the requests err in that direction. Then

- predicted above actual: the index holds what the engine does not. It is told to doubt its state
  and loads a fresh snapshot, at most once in DOUBT_INTERVAL_S, and half as often each time that
  this has not helped;
- actual above predicted: the engine finds what the router's keys do not: tokenizer, chat template,
  adapter, salt or namespace differ. Nothing repairs that by itself, so it is said.

Audited are requests whose endpoint was EXACT and had nothing to do before them when they were
decided, and that were served where they were sent first. A request that queues or tries again
finds what other requests have stored and evicted meanwhile, which no index can know. Errors are
those of the index alone: tokens for which only prompts on their way stood count neither when they
are found nor when they are not.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from farsight.index.match import Confidence
from farsight.latency.features import Feature
from farsight.log import get_logger
from farsight.pb.events_pb2 import KvDoubt
from services.router import metrics
from services.router.decisions import OpenDecision

log = get_logger(__name__)

WINDOW_REQUESTS = 32
MIN_TOKEN_SHARE = 0.1
MIN_REQUEST_SHARE = 0.25
DOUBT_INTERVAL_S = 60
# What an engine does before it begins with a request.
_AHEAD = (Feature.WAITING_REQUESTS, Feature.PREFILL_AHEAD_TOKENS)
# Doubts that do not help become this much rarer at most.
MAX_INTERVAL_FACTOR = 64


@dataclass(slots=True)
class _Window:
    """Audited requests of one endpoint, decided since what is known of it was last made anew."""

    since_unix_ms: int = 0
    errors: deque[tuple[int, int, int]] = field(
        default_factory=lambda: deque(maxlen=WINDOW_REQUESTS)
    )
    """Predicted and found tokens, and the index's error: positive where it said too much."""
    doubted_unix_ms: int | None = None
    factor: int = 1
    """Of DOUBT_INTERVAL_S."""
    drift: str = ""
    """`over`, `under` or empty."""
    drift_tokens: float = 0.0
    """Mean error while there is a drift: positive over, negative under."""


class Audit:
    """Owns the windows; doubts wait here until they are published."""

    def __init__(self, router_id: str, unix_ms: Callable[[], int]) -> None:
        self._router_id = router_id
        self._unix_ms = unix_ms
        self._windows: dict[str, _Window] = {}
        self._doubts: list[KvDoubt] = []

    def take_doubts(self) -> list[KvDoubt]:
        """Doubts that were not taken yet."""
        taken, self._doubts = self._doubts, []
        return taken

    def drift_tokens(self, endpoint_id: str) -> float:
        """Mean predicted minus found tokens when last judged to drift apart; 0 otherwise."""
        window = self._windows.get(endpoint_id)
        return window.drift_tokens if window is not None else 0.0

    def begin(self, endpoint_id: str) -> None:
        """The endpoint began a new life: earlier decisions say nothing about it."""
        if endpoint_id in self._windows:
            self._tell(endpoint_id, self._windows[endpoint_id], "", 0.0)
        self._windows[endpoint_id] = _Window(self._unix_ms())

    def forget(self, endpoint_id: str) -> None:
        """The endpoint left."""
        self._windows.pop(endpoint_id, None)

    def take(
        self, decision: OpenDecision, row: int, found: int, block_tokens: int, epoch: int
    ) -> None:
        """A request took `found` tokens from the caches of the endpoint of `row`."""
        endpoint_id = decision.endpoint_ids[row]
        error = _error(decision, row, found)
        confidence = Confidence(decision.confidence[row])
        metrics.cached_error_tokens.labels(endpoint_id, confidence.name.lower()).observe(error)
        _count_speculation(decision, row, found)
        window = self._windows.setdefault(endpoint_id, _Window())
        is_late = row > 0 or bool(decision.matrix[row, _AHEAD].any())
        is_old = decision.decided_unix_ms <= window.since_unix_ms
        if confidence is not Confidence.EXACT or is_late or is_old:
            return
        window.errors.append((decision.indexed_tokens[row], found, error))
        if len(window.errors) == WINDOW_REQUESTS:
            self._judge(endpoint_id, window, block_tokens, epoch)

    def _judge(self, endpoint_id: str, window: _Window, block_tokens: int, epoch: int) -> None:
        predicted, found, errors = np.array(window.errors).T
        least = max(block_tokens, MIN_TOKEN_SHARE * max(predicted.mean(), found.mean()))
        drift, mean = "", 0.0
        for direction, part in (("over", errors.clip(min=0)), ("under", (-errors).clip(min=0))):
            is_frequent = np.count_nonzero(part) >= MIN_REQUEST_SHARE * WINDOW_REQUESTS
            if is_frequent and part.mean() > max(least, mean):
                drift, mean = direction, float(part.mean())
        self._tell(endpoint_id, window, drift, mean)
        if drift == "over":
            self._doubt(endpoint_id, window, epoch, mean)
        else:
            window.factor = 1

    def _doubt(self, endpoint_id: str, window: _Window, epoch: int, mean: float) -> None:
        now_ms = self._unix_ms()
        if window.doubted_unix_ms is not None:
            passed_s = (now_ms - window.doubted_unix_ms) / 1000
            if passed_s < DOUBT_INTERVAL_S * window.factor:
                return
            window.factor = min(2 * window.factor, MAX_INTERVAL_FACTOR)
        window.doubted_unix_ms = window.since_unix_ms = now_ms
        window.errors.clear()
        doubt = KvDoubt(
            endpoint_id=endpoint_id, epoch=epoch, router_id=self._router_id, mean_error_tokens=mean
        )
        self._doubts.append(doubt)
        metrics.series(metrics.kv_doubts, endpoint_id).inc()

    def _tell(self, endpoint_id: str, window: _Window, drift: str, mean: float) -> None:
        """Keep the gauge current, and log when a drift begins."""
        for direction in ("over", "under"):
            told = mean if direction == drift else 0.0
            metrics.cached_drift_tokens.labels(endpoint_id, direction).set(told)
        if drift and drift != window.drift:
            log.warning(
                "predicted and reported cached tokens drift apart",
                extra={"endpoint": endpoint_id, "direction": drift, "mean_tokens": round(mean)},
            )
        window.drift = drift
        window.drift_tokens = -mean if drift == "under" else mean


def _error(decision: OpenDecision, row: int, found: int) -> int:
    """Predicted minus found tokens; an exact answer is not blamed for prompts on their way."""
    predicted = decision.cached_tokens[row]
    if decision.confidence[row] != Confidence.EXACT or found > predicted:
        return predicted - found
    return max(0, decision.indexed_tokens[row] - found)


def _count_speculation(decision: OpenDecision, row: int, found: int) -> None:
    indexed = decision.indexed_tokens[row]
    speculative = decision.cached_tokens[row] - indexed
    if speculative > 0:
        taken = min(max(0, found - indexed), speculative)
        metrics.series(metrics.speculative_tokens, "found").inc(taken)
        metrics.series(metrics.speculative_tokens, "missed").inc(speculative - taken)
