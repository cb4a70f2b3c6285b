"""One decision: tokens, prefixes, features, forecast, choice, reservation."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from farsight.keys import Tokens
from farsight.latency.features import FeatureColumns, FeatureMatrix
from services.router import metrics
from services.router.candidates import Candidates, Floats, RequestView
from services.router.decisions import Latency, OpenDecision
from services.router.fleet import Endpoint, Fleet
from services.router.forecast import Forecast, Forecaster
from services.router.outcomes import Outcomes
from services.router.output_lengths import OutputLengths
from services.router.prefixes import Prefixes, PrefixLookup
from services.router.profile import Choice
from services.router.profiles import Profiles
from services.router.prompts import Prompts, RouteCall
from services.router.reservations import InFlight, Reservations


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, and everything that it was decided from."""

    opened: OpenDecision
    endpoints: tuple[Endpoint, ...]
    candidates: Candidates
    choice: Choice
    fallbacks: tuple[str, ...]
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class RouterParts:
    """What a router decides with."""

    fleet: Fleet
    prompts: Prompts
    prefixes: PrefixLookup
    forecaster: Forecaster
    reservations: Reservations
    profiles: Profiles
    lengths: OutputLengths
    outcomes: Outcomes
    random: Random


class RequestRouter:
    """Makes decisions; the flow is `route`."""

    def __init__(self, parts: RouterParts) -> None:
        self._parts = parts
        self.decisions = 0

    async def route(self, call: RouteCall, arrived_s: float) -> Decision:
        """Decide for one request and reserve its load.

        :raises FarsightError: the request is bad or no endpoint can take it.
        """
        parts = self._parts
        profile = parts.profiles.get(call.profile)
        endpoints = parts.fleet.serving(call.model, call.exclude)
        tokens = await parts.prompts.tokens(call.prompt, endpoints)
        prefixes = await parts.prefixes.find(call.model, tokens, call.cache_salt, endpoints)
        expected = parts.lengths.expected(call.model, call.max_output_tokens)
        forecast = await self._forecast(endpoints, tokens.size, prefixes, expected)

        # From here to the reservation nothing waits: the next decision sees this one.
        candidates = self._candidates(endpoints, tokens.size, prefixes)
        matrix = features(candidates, tokens.size, expected)
        forecast = self._revise(endpoints, forecast, matrix)
        candidates = candidates.predicted(forecast.predictions)
        choice = profile.choose(self._view(call, tokens.size, expected), candidates)
        opened = self._open(
            call, endpoints, candidates, prefixes, forecast, arrived_s, profile.name
        )
        self._reserve(opened, candidates, choice.position, expected)
        fallbacks = (*prefixes.fallbacks, *filter(None, [forecast.fallback]))
        fallbacks += tuple(f"filter-{name}-relaxed" for name in choice.relaxed)
        self._count(opened, candidates, choice, fallbacks, arrived_s)
        return Decision(opened, tuple(endpoints), candidates, choice, fallbacks, tokens)

    async def _forecast(
        self, endpoints: Sequence[Endpoint], prompt_tokens: int, prefixes: Prefixes, expected: float
    ) -> Forecast:
        candidates = self._candidates(endpoints, prompt_tokens, prefixes)
        return await self._parts.forecaster.predict(
            endpoints[0].model,
            [e.accelerator for e in endpoints],
            features(candidates, prompt_tokens, expected),
        )

    def _revise(
        self, endpoints: Sequence[Endpoint], forecast: Forecast, matrix: FeatureMatrix
    ) -> Forecast:
        labels = [e.accelerator for e in endpoints]
        return self._parts.forecaster.revise(forecast, endpoints[0].model, labels, matrix)

    def _candidates(
        self, endpoints: Sequence[Endpoint], prompt_tokens: int, prefixes: Prefixes
    ) -> Candidates:
        ids = tuple(e.endpoint_id for e in endpoints)
        return gather(
            endpoints, prompt_tokens, prefixes, self._parts.reservations.in_flight(ids), self._parts
        )

    def _view(self, call: RouteCall, prompt_tokens: int, expected: float) -> RequestView:
        self.decisions += 1
        return RequestView(
            prompt_tokens,
            expected,
            call.slo_ttft_ms,
            call.slo_tpot_ms,
            call.priority,
            self.decisions,
            self._parts.random.random(),
        )

    def _open(
        self,
        call: RouteCall,
        endpoints: Sequence[Endpoint],
        candidates: Candidates,
        prefixes: Prefixes,
        forecast: Forecast,
        arrived_s: float,
        profile: str,
    ) -> OpenDecision:
        return OpenDecision(
            decision_id=uuid.uuid4().hex,
            request_id=call.request_id or uuid.uuid4().hex,
            model=call.model,
            base_model=endpoints[0].model,
            pool=endpoints[0].pool,
            profile=profile,
            endpoint_ids=candidates.endpoint_ids,
            accelerators=tuple(e.accelerator for e in endpoints),
            matrix=forecast.matrix,
            latencies=tuple(
                Latency(*row) for row in forecast.predictions.stack().astype(float).tolist()
            ),
            cached_tokens=tuple(int(c) for c in candidates.cached_tokens),
            keys=prefixes.keys,
            prompt_tokens=int(candidates.cached_tokens[0] + candidates.uncached_tokens[0]),
            bundle_version=forecast.bundle_version,
            decision_ms=(time.perf_counter() - arrived_s) * 1000,
            decided_unix_ms=int(time.time() * 1000),
        )

    def _reserve(
        self, opened: OpenDecision, candidates: Candidates, row: int, expected: float
    ) -> None:
        self._parts.reservations.reserve(
            opened.decision_id,
            opened.endpoint_ids[row],
            int(candidates.uncached_tokens[row]),
            opened.prompt_tokens + int(expected),
        )
        self._parts.outcomes.opened(opened, row, candidates.confidence)

    def _count(
        self,
        opened: OpenDecision,
        candidates: Candidates,
        choice: Choice,
        fallbacks: Sequence[str],
        arrived_s: float,
    ) -> None:
        endpoint_id = opened.endpoint_ids[choice.position]
        metrics.decisions.labels(opened.profile, endpoint_id).inc()
        metrics.decision_seconds.observe(time.perf_counter() - arrived_s)
        metrics.predicted_ttft_seconds.observe(candidates.ttft_q50_ms[choice.position] / 1000)
        for fallback in fallbacks:
            metrics.fallbacks.labels(fallback).inc()


def gather(
    endpoints: Sequence[Endpoint],
    prompt_tokens: int,
    prefixes: Prefixes,
    in_flight: InFlight,
    parts: RouterParts,
) -> Candidates:
    """What is known of each endpoint now, as columns; predictions are still empty."""
    loads = [parts.fleet.load_of(e.endpoint_id) for e in endpoints]
    unknown = np.full(len(endpoints), np.nan)
    rates = [parts.forecaster.rates(e.model, e.accelerator).ttft for e in endpoints]
    return Candidates(
        endpoint_ids=tuple(e.endpoint_id for e in endpoints),
        block_size_tokens=_column([e.block_size_tokens for e in endpoints]),
        device_tokens=prefixes.device_tokens,
        host_tokens=prefixes.host_tokens,
        storage_tokens=prefixes.storage_tokens,
        cached_tokens=prefixes.cached_tokens,
        uncached_tokens=prompt_tokens - prefixes.cached_tokens,
        confidence=prefixes.confidence,
        index_age_ms=prefixes.age_ms,
        load_age_ms=_column([parts.fleet.load_age_ms(e.endpoint_id) for e in endpoints]),
        waiting_requests=_column([load.waiting_requests if load else 0 for load in loads]),
        running_requests=_column([load.running_requests if load else 0 for load in loads]),
        kv_usage_ratio=_column([load.kv_usage_ratio if load else 0 for load in loads]),
        in_flight_requests=in_flight.requests,
        in_flight_decoding=in_flight.decoding,
        in_flight_prefill_tokens=in_flight.prefill_tokens,
        in_flight_context_tokens=in_flight.context_tokens,
        inhibited=np.array([parts.fleet.is_inhibited(e.endpoint_id) for e in endpoints], np.bool_),
        prefill_ms_per_token=_column([r.prefill_ms_per_token for r in rates]),
        ttft_q50_ms=unknown,
        ttft_q90_ms=unknown,
        tpot_q50_ms=unknown,
        tpot_q90_ms=unknown,
    )


def features(candidates: Candidates, prompt_tokens: int, expected: float) -> FeatureMatrix:
    """The feature matrix of the candidates."""
    return FeatureColumns(
        prompt_tokens=prompt_tokens,
        uncached_tokens=candidates.uncached_tokens,
        host_tokens=np.minimum(
            candidates.host_tokens, candidates.cached_tokens - candidates.device_tokens
        ).clip(0),
        storage_tokens=np.minimum(
            candidates.storage_tokens,
            candidates.cached_tokens - candidates.device_tokens - candidates.host_tokens,
        ).clip(0),
        prefill_ahead_tokens=candidates.in_flight_prefill_tokens,
        running_requests=candidates.decoding,
        resident_tokens=candidates.in_flight_context_tokens,
        waiting_requests=candidates.waiting_requests,
        kv_usage_ratio=candidates.kv_usage_ratio,
        load_age_ms=np.minimum(candidates.load_age_ms, 60_000),
        expected_output_tokens=expected,
        block_size_tokens=candidates.block_size_tokens,
    ).matrix(len(candidates))


def _column(values: Sequence[float]) -> Floats:
    return np.array(values, np.float64)
