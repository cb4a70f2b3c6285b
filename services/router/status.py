"""The Status reply: what `farsight status` and `farsight top` show."""

from farsight.index.match import Confidence
from farsight.pb.router_pb2 import EndpointStatus, ModelStatus, RouterStatusReply
from services.router import metrics
from services.router.outcomes import EndpointTally
from services.router.route import RouterParts

NO_TALLY = EndpointTally()


def router_status(replica_id: str, parts: RouterParts, decisions: int) -> RouterStatusReply:
    """One replica's view."""
    return RouterStatusReply(
        replica_id=replica_id,
        profile=parts.profiles.live,
        profiles=parts.profiles.names,
        models=[
            ModelStatus(model=model, bundle_version=parts.forecaster.versions.get(model, 0))
            for model in parts.fleet.models
        ],
        endpoints=_endpoints(parts),
        decisions=decisions,
        fallbacks=_fallbacks(),
    )


def _endpoints(parts: RouterParts) -> list[EndpointStatus]:
    ids = tuple(sorted(parts.fleet.endpoints))
    in_flight = parts.reservations.in_flight(ids)
    confidences = parts.prefixes.confidences()
    rows = []
    for i, endpoint_id in enumerate(ids):
        endpoint = parts.fleet.endpoints[endpoint_id]
        tally = parts.outcomes.tallies.get(endpoint_id, NO_TALLY)
        predicted_ms, actual_ms = parts.outcomes.recent_ttft_ms(endpoint_id)
        confidence = confidences.get(endpoint_id, Confidence.UNSPECIFIED)
        rows.append(
            EndpointStatus(
                endpoint_id=endpoint_id,
                url=endpoint.url,
                model=endpoint.model,
                confidence=confidence.value,
                requests=tally.requests,
                in_flight_requests=int(in_flight.requests[i]),
                in_flight_prefill_tokens=int(in_flight.prefill_tokens[i]),
                cached_tokens_predicted=tally.cached_tokens_predicted,
                cached_tokens_actual=tally.cached_tokens_actual,
                prompt_tokens=tally.prompt_tokens,
                ttft_predicted_ms=predicted_ms,
                ttft_actual_ms=actual_ms,
                load_age_ms=int(min(parts.fleet.load_age_ms(endpoint_id), 2**32 - 1)),
                inhibited=parts.fleet.is_inhibited(endpoint_id),
                cached_drift_tokens=parts.audit.drift_tokens(endpoint_id),
            )
        )
    return rows


def _fallbacks() -> dict[str, int]:
    return {
        sample.labels["reason"]: int(sample.value)
        for metric in metrics.fallbacks.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    }
