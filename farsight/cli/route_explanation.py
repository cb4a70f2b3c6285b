"""One decision explained; also the form of its JSON."""

from collections.abc import Mapping
from dataclasses import dataclass

from farsight.cli.enums import confidence_name, known_age_ms
from farsight.pb import router_pb2
from farsight.pb.router_pb2 import RouteReply


@dataclass(frozen=True, slots=True)
class Candidate:
    """One endpoint as the decision saw it."""

    endpoint_id: str
    is_chosen: bool
    filtered_by: str
    """Filter that dropped it; empty: it was scored."""
    device_tokens: int
    host_tokens: int
    storage_tokens: int
    cached_tokens: int
    speculative_tokens: int
    """Those of `cached_tokens` for which only prompts on their way there stand."""
    confidence: str
    index_age_ms: int | None
    """None: never heard of, as below."""
    load_age_ms: int | None
    ttft_q50_ms: float
    ttft_q90_ms: float
    tpot_q50_ms: float
    tpot_q90_ms: float
    scores: Mapping[str, float]
    """By scorer, 0 to 1, before weights."""
    total_score: float
    in_flight_requests: int
    in_flight_prefill_tokens: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was decided, by whom and why."""

    router: str
    """host:port"""
    decision_id: str
    request_id: str
    endpoint_id: str
    url: str
    alternatives: tuple[str, ...]
    """Endpoint ids, best first."""
    prompt_tokens: int
    cached_tokens: int
    confidence: str
    bundle_version: int
    """0: the analytic model alone."""
    profile: str
    picker_reason: str
    fallbacks: tuple[str, ...]
    decision_ms: float
    candidates: tuple[Candidate, ...]


def explain(reply: RouteReply, router: str) -> Explanation:
    """A reply to a call with `explain`."""
    chosen = reply.endpoint.endpoint_id
    return Explanation(
        router=router,
        decision_id=reply.decision_id,
        request_id=reply.request_id,
        endpoint_id=chosen,
        url=reply.endpoint.url,
        alternatives=tuple(endpoint.endpoint_id for endpoint in reply.alternatives),
        prompt_tokens=reply.prompt_tokens,
        cached_tokens=reply.cached_tokens,
        confidence=confidence_name(reply.confidence),
        bundle_version=reply.bundle_version,
        profile=reply.profile,
        picker_reason=reply.picker_reason,
        fallbacks=tuple(reply.fallbacks),
        decision_ms=reply.decision_ms,
        candidates=tuple(_candidate(c, c.endpoint_id == chosen) for c in reply.candidates),
    )


def _candidate(seen: router_pb2.Candidate, is_chosen: bool) -> Candidate:
    ttft, tpot = seen.predicted.ttft, seen.predicted.tpot
    return Candidate(
        endpoint_id=seen.endpoint_id,
        is_chosen=is_chosen,
        filtered_by=seen.filtered_by,
        device_tokens=seen.device_tokens,
        host_tokens=seen.host_tokens,
        storage_tokens=seen.storage_tokens,
        cached_tokens=seen.cached_tokens,
        speculative_tokens=seen.speculative_tokens,
        confidence=confidence_name(seen.confidence),
        index_age_ms=known_age_ms(seen.index_age_ms),
        load_age_ms=known_age_ms(seen.load_age_ms),
        ttft_q50_ms=ttft.q50_ms,
        ttft_q90_ms=ttft.q90_ms,
        tpot_q50_ms=tpot.q50_ms,
        tpot_q90_ms=tpot.q90_ms,
        scores=dict(sorted(seen.scores.items())),
        total_score=seen.total_score,
        in_flight_requests=seen.in_flight_requests,
        in_flight_prefill_tokens=seen.in_flight_prefill_tokens,
    )
