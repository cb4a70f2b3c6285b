"""One decision: tokens, prefixes, features, forecast, choice, reservation."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np

from farsight.keys import Tokens
from services.router import gather, metrics
from services.router.audit import Audit
from services.router.candidates import Candidates, RequestView
from services.router.decisions import OpenDecision
from services.router.fleet import Fleet
from services.router.forecast import Forecast, Forecaster
from services.router.outcomes import Outcomes, now_unix_ms
from services.router.output_lengths import OutputLengths
from services.router.prefixes import Prefixes, PrefixLookup
from services.router.profile import Choice
from services.router.profiles import Profiles
from services.router.prompts import Prompts, RouteCall
from services.router.reservations import Reservations
from services.router.roster import Roster
from services.router.routed import RoutedPrompts

MAX_ALTERNATIVES = 15
# A client that never reports holds its reservation for the longer of these.
MIN_LEASE_S = 60.0
LEASE_PER_PREDICTED = 3.0


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, and everything that it was decided from."""

    opened: OpenDecision
    roster: Roster
    candidates: Candidates
    choice: Choice
    answered: tuple[int, ...]
    """Rows in the answer: the chosen one, then the alternatives, best first."""
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
    routed: RoutedPrompts
    audit: Audit
    random: Random
    clock: Callable[[], float] = time.perf_counter
    """Seconds; what `arrived_s` of a call is taken from."""
    unix_ms: Callable[[], int] = now_unix_ms


class RequestRouter:
    """Makes decisions; the flow is `route`."""

    def __init__(self, parts: RouterParts) -> None:
        self._parts = parts
        self._turns: dict[tuple[str, str], int] = {}

    @property
    def decisions(self) -> int:
        """Made since start."""
        return sum(self._turns.values())

    async def route(self, call: RouteCall, arrived_s: float) -> Decision:
        """Decide for one request and reserve its load.

        :raises FarsightError: the request is bad or no endpoint can take it.
        """
        parts = self._parts
        profile = parts.profiles.get(call.profile)
        roster = parts.fleet.serving(call.model, call.exclude)
        tokens = await parts.prompts.tokens(call.prompt, roster)
        prefixes = await parts.prefixes.find(roster, tokens, call.cache_salt, call.multimodal)
        expected = parts.lengths.expected(call.model, call.max_output_tokens)
        seen = self._look(roster, tokens.size, prefixes)
        features = gather.features(seen, tokens.size, expected)
        before = self._versions()
        forecast = await parts.forecaster.predict(roster, features)

        # From here to the reservation nothing waits: the next decision sees this one.
        if parts.fleet.is_stale(roster):
            return await self.route(replace(call, prompt=tokens), arrived_s)
        if self._versions() != before:
            prefixes = parts.prefixes.look_again(prefixes, roster, tokens.size)
            seen = self._look(roster, tokens.size, prefixes)
            features = gather.features(seen, tokens.size, expected)
            forecast = parts.forecaster.revise(forecast, roster, features)
        seen = seen.predicted(forecast.predictions)
        choice = profile.choose(self._view(call, profile.name, tokens.size, expected), seen)
        answered = choice.ranked(MAX_ALTERNATIVES)
        opened = self._open(call, roster, seen, forecast, answered, profile.name, arrived_s)
        self._reserve(opened, prefixes, answered[0], expected)
        fallbacks = (*prefixes.fallbacks, *filter(None, [forecast.fallback]))
        fallbacks += tuple(f"filter-{name}-relaxed" for name in choice.relaxed)
        _count(opened, fallbacks)
        return Decision(opened, roster, seen, choice, answered, fallbacks, tokens)

    def _versions(self) -> tuple[int, int]:
        """What a second look would show otherwise than the first: load, and who failed."""
        return self._parts.reservations.version, self._parts.fleet.health_version

    def _look(self, roster: Roster, prompt_tokens: int, prefixes: Prefixes) -> Candidates:
        return gather.candidates(
            roster,
            prompt_tokens,
            prefixes,
            self._parts.fleet.loads(roster),
            self._parts.reservations.in_flight(roster.endpoint_ids),
            self._parts.forecaster.prefill_ms_per_token(roster),
        )

    def _view(
        self, call: RouteCall, profile: str, prompt_tokens: int, expected: float
    ) -> RequestView:
        turn = self._turns[call.model, profile] = self._turns.get((call.model, profile), 0) + 1
        return RequestView(
            prompt_tokens,
            expected,
            call.slo_ttft_ms,
            call.slo_tpot_ms,
            call.priority,
            call.session_id,
            turn,
            self._parts.random.random(),
        )

    def _open(
        self,
        call: RouteCall,
        roster: Roster,
        seen: Candidates,
        forecast: Forecast,
        answered: Sequence[int],
        profile: str,
        arrived_s: float,
    ) -> OpenDecision:
        rows = np.array(answered, np.intp)
        cached_tokens = seen.cached_tokens[rows]
        indexed_tokens = cached_tokens - seen.speculative_tokens[rows]
        endpoints = [roster.endpoints[row] for row in answered]
        return OpenDecision(
            decision_id=self._new_id(),
            request_id=call.request_id or self._new_id(),
            model=call.model,
            base_model=roster.base_model,
            pool=endpoints[0].pool,
            profile=profile,
            endpoint_ids=tuple(e.endpoint_id for e in endpoints),
            accelerators=tuple(e.accelerator for e in endpoints),
            matrix=forecast.matrix[rows],
            quantiles_ms=forecast.predictions.stack()[rows],
            cached_tokens=tuple(cached_tokens.astype(int).tolist()),
            indexed_tokens=tuple(indexed_tokens.astype(int).tolist()),
            confidence=tuple(seen.confidence[rows].tolist()),
            prompt_tokens=int(seen.cached_tokens[0] + seen.uncached_tokens[0]),
            bundle_version=forecast.bundle_version,
            decision_ms=(self._parts.clock() - arrived_s) * 1000,
            decided_unix_ms=self._parts.unix_ms(),
        )

    def _new_id(self) -> str:
        return f"{self._parts.random.getrandbits(128):032x}"

    def _reserve(
        self, opened: OpenDecision, prefixes: Prefixes, chosen: int, expected: float
    ) -> None:
        endpoint_id, latency = opened.endpoint_ids[0], opened.latency(0)
        predicted_s = (latency.ttft_q90_ms + expected * latency.tpot_q90_ms) / 1000
        self._parts.reservations.reserve(
            opened.decision_id,
            endpoint_id,
            opened.prompt_tokens - opened.cached_tokens[0],
            opened.prompt_tokens + int(expected),
            max(MIN_LEASE_S, LEASE_PER_PREDICTED * predicted_s),
        )
        keys, is_indexed = prefixes.keys_of(endpoint_id), prefixes.is_indexed(chosen)
        self._parts.outcomes.opened(opened, keys, is_indexed)


def _count(opened: OpenDecision, fallbacks: Sequence[str]) -> None:
    metrics.series(metrics.decisions, opened.profile, opened.endpoint_ids[0]).inc()
    metrics.decision_seconds.observe(opened.decision_ms / 1000)
    metrics.predicted_ttft_seconds.observe(opened.latency(0).ttft_q50_ms / 1000)
    for fallback in fallbacks:
        metrics.series(metrics.fallbacks, fallback).inc()
