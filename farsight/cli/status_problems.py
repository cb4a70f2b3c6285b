"""What is missing or degraded in a fleet, in words."""

from collections.abc import Collection, Iterator

from farsight.cli import words
from farsight.cli.status_report import SERVING, Endpoint, Fleet, Report

KINDS = ("sidecar", "indexer", "predictor", "trainer", "router", "gateway")
# Loads come a few times a second; routers do not trust one that is older than this.
LOAD_AGE_LIMIT_MS = 3000


def judge(fleet: Fleet, unused_kinds: Collection[str]) -> Report:
    """The fleet with its problems; `unused_kinds` are services that it does without."""
    problems = (
        *_of_services(fleet, unused_kinds),
        *_of_endpoints(fleet),
        *_of_trainers(fleet, unused_kinds),
        *_of_bundles(fleet),
        *_of_profiles(fleet),
        *fleet.unread,
    )
    return Report(not problems, problems, fleet)


def _of_services(fleet: Fleet, unused_kinds: Collection[str]) -> Iterator[str]:
    kinds = {service.kind for service in fleet.services}
    for kind in KINDS:
        if kind not in kinds and kind not in unused_kinds:
            yield f"no {kind} is registered"
    for service in fleet.services:
        if service.health != SERVING:
            yield f"{service.kind} {service.replica_id} at {service.address}: {service.health}"


def _of_endpoints(fleet: Fleet) -> Iterator[str]:
    if not fleet.endpoints:
        yield "no endpoint is registered"
    for endpoint in fleet.endpoints:
        if not endpoint.is_leased:
            yield f"endpoint {endpoint.endpoint_id}: its record has no lease and will never go"
        yield from _of_index(fleet, endpoint)
        yield from _of_load(fleet, endpoint)


def _of_index(fleet: Fleet, endpoint: Endpoint) -> Iterator[str]:
    for indexer in (i.indexer for i in fleet.indexers):
        sources = (s for s in fleet.index if s.indexer == indexer)
        source = next((s for s in sources if s.endpoint_id == endpoint.endpoint_id), None)
        what = f"endpoint {endpoint.endpoint_id} at indexer {indexer}"
        if source is None:
            yield f"{what}: unknown"
        elif source.epoch != endpoint.epoch:
            yield f"{what}: epoch {source.epoch}, registered is {endpoint.epoch}"
        elif source.confidence == "DEGRADED":
            yield f"{what}: DEGRADED, {source.reason or 'no reason given'}"


def _of_load(fleet: Fleet, endpoint: Endpoint) -> Iterator[str]:
    for router in (p.router for p in fleet.profiles):
        loads = (load for load in fleet.loads if load.router == router)
        load = next((x for x in loads if x.endpoint_id == endpoint.endpoint_id), None)
        what = f"endpoint {endpoint.endpoint_id} at router {router}"
        if load is None:
            yield f"{what}: unknown"
            continue
        if load.load_age_ms is None:
            yield f"{what}: its load was never reported"
        elif load.load_age_ms > LOAD_AGE_LIMIT_MS:
            yield f"{what}: its load is {words.age(load.load_age_ms)} old"
        if load.is_inhibited:
            yield f"{what}: failed moments ago and is left out"
        yield from _of_drift(what, load.cached_drift_tokens)


def _of_drift(what: str, tokens: float) -> Iterator[str]:
    if tokens > 0:
        yield (
            f"{what}: its engine finds {tokens:,.0f} cached tokens fewer than the index says; a "
            "fresh snapshot was asked for; if this stays: farsight index diff"
        )
    elif tokens < 0:
        yield (
            f"{what}: its engine finds {-tokens:,.0f} cached tokens more than the index says; "
            "compare tokenizer, chat template, adapter and salt of router and engine"
        )


def _of_trainers(fleet: Fleet, unused_kinds: Collection[str]) -> Iterator[str]:
    trainers = {s.replica_id for s in fleet.services if s.kind == "trainer"}
    if fleet.trainer_leader is None:
        if trainers or "trainer" not in unused_kinds:
            yield "no trainer leads: no new latency bundle is made"
    elif fleet.trainer_leader not in trainers:
        yield f"trainer {fleet.trainer_leader} leads and is not registered"


def _of_bundles(fleet: Fleet) -> Iterator[str]:
    for bundle in fleet.bundles:
        for loaded in bundle.loaded:
            if loaded.version != bundle.version:
                yield (
                    f"predictor {loaded.predictor} has bundle {loaded.version} of model "
                    f"{bundle.model}, published is {bundle.version}"
                )


def _of_profiles(fleet: Fleet) -> Iterator[str]:
    if len({live.profile for live in fleet.profiles}) > 1:
        listed = ", ".join(f"{live.profile} at {live.router}" for live in fleet.profiles)
        yield f"routers disagree on the live profile: {listed}"
