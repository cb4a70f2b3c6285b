"""What `farsight top` shows: the Status of every router, merged."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from farsight.cli.asking import NoAnswer, ask
from farsight.cli.enums import confidence_name
from farsight.cli.records import list_services
from farsight.errors import EtcdUnavailable
from farsight.etcd import Etcd
from farsight.pb.router_pb2 import EndpointStatus, RouterStatusReply, RouterStatusRequest
from farsight.pb.router_pb2_grpc import RouterStub

RECENT_REQUESTS = 50  # a router's TTFT means are over at most so many requests


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """One endpoint over all routers."""

    endpoint_id: str
    model: str
    requests: int
    in_flight_requests: int
    in_flight_prefill_tokens: int
    cached_tokens_predicted: int
    cached_tokens_actual: int
    prompt_tokens: int
    ttft_predicted_ms: float
    """Mean of recent requests; 0 without any, as below."""
    ttft_actual_ms: float
    confidence: str
    """The worst that a router saw in a decision; empty before the first one."""
    load_age_ms: int
    """Of the router that heard of it longest ago."""
    is_inhibited: bool


@dataclass(frozen=True, slots=True)
class TopState:
    """The fleet at one moment."""

    taken_s: float
    """Monotonic clock, seconds."""
    routers: tuple[str, ...]
    """host:port of every router that is registered."""
    decisions: Mapping[str, int]
    """Since start, by replica id of the routers that answered."""
    decisions_per_s: float | None
    """Since the state before this one; None for the first."""
    profiles: tuple[str, ...]
    """Live profiles; more than one while routers disagree."""
    bundle_versions: Mapping[str, int]
    """Newest version in a prediction, by model; 0 is the analytic model."""
    fallbacks: Mapping[str, int]
    """Since start, by reason."""
    endpoints: tuple[EndpointRow, ...]
    away: tuple[str, ...]
    """What did not answer, in words."""


async def fetch(etcd: Etcd, previous: TopState | None = None) -> TopState:
    """Ask every registered router; while etcd is away, those of the state before.

    :raises EtcdUnavailable: etcd did not answer and there is no state before.
    """
    away: list[str] = []
    try:
        listing = await list_services(etcd, "router")
        routers = tuple(record.address for record in listing.records)
        away += listing.refused
    except EtcdUnavailable:
        if previous is None:
            raise
        routers = previous.routers
        away.append(f"etcd {etcd.address} does not answer")
    answers = await asyncio.gather(*(ask_router(address) for address in routers))
    replies = []
    for address, answer in zip(routers, answers, strict=True):
        if isinstance(answer, NoAnswer):
            away.append(f"router {address}: {answer.why}")
        else:
            replies.append(answer)
    return merge(replies, routers, away, time.monotonic(), previous)


async def ask_router(address: str) -> RouterStatusReply | NoAnswer:
    """The Status of one router."""
    return await ask(address, lambda channel: RouterStub(channel).Status(RouterStatusRequest()))


def merge(
    replies: Sequence[RouterStatusReply],
    routers: Sequence[str],
    away: Sequence[str],
    taken_s: float,
    previous: TopState | None,
) -> TopState:
    """One state from the routers' answers."""
    by_endpoint: dict[str, list[EndpointStatus]] = defaultdict(list)
    fallbacks: Counter[str] = Counter()
    versions: dict[str, int] = {}
    for reply in replies:
        fallbacks.update(dict(reply.fallbacks))
        for model in reply.models:
            versions[model.model] = max(model.bundle_version, versions.get(model.model, 0))
        for endpoint in reply.endpoints:
            by_endpoint[endpoint.endpoint_id].append(endpoint)
    decisions = {reply.replica_id: reply.decisions for reply in replies}
    return TopState(
        taken_s=taken_s,
        routers=tuple(routers),
        decisions=decisions,
        decisions_per_s=_rate(decisions, taken_s, previous),
        profiles=tuple(sorted({reply.profile for reply in replies})),
        bundle_versions=versions,
        fallbacks={reason: n for reason, n in sorted(fallbacks.items()) if n},
        endpoints=tuple(_merged(by_endpoint[e]) for e in sorted(by_endpoint)),
        away=tuple(away),
    )


def _rate(decisions: Mapping[str, int], taken_s: float, previous: TopState | None) -> float | None:
    """Decisions per second of the routers that answered both times and were not restarted."""
    if previous is None or taken_s <= previous.taken_s:
        return None
    made = sum(
        max(0, total - previous.decisions[replica])
        for replica, total in decisions.items()
        if replica in previous.decisions
    )
    return made / (taken_s - previous.taken_s)


def _merged(seen: Sequence[EndpointStatus]) -> EndpointRow:
    """Sums of what each router counts itself; what every router knows of the fleet, once."""
    return EndpointRow(
        endpoint_id=seen[0].endpoint_id,
        model=seen[0].model,
        requests=sum(s.requests for s in seen),
        in_flight_requests=max(s.in_flight_requests for s in seen),
        in_flight_prefill_tokens=max(s.in_flight_prefill_tokens for s in seen),
        cached_tokens_predicted=sum(s.cached_tokens_predicted for s in seen),
        cached_tokens_actual=sum(s.cached_tokens_actual for s in seen),
        prompt_tokens=sum(s.prompt_tokens for s in seen),
        ttft_predicted_ms=_mean((s.ttft_predicted_ms, s.requests) for s in seen),
        ttft_actual_ms=_mean((s.ttft_actual_ms, s.requests) for s in seen),
        confidence=confidence_name(max(s.confidence for s in seen)),
        load_age_ms=max(s.load_age_ms for s in seen),
        is_inhibited=any(s.inhibited for s in seen),
    )


def _mean(means: Iterable[tuple[float, int]]) -> float:
    """Mean over the routers that know one, weighted by the requests it can be over."""
    known = [(mean, min(requests, RECENT_REQUESTS)) for mean, requests in means if mean > 0]
    weight = sum(requests for _, requests in known)
    return sum(mean * requests for mean, requests in known) / weight if weight else 0.0
