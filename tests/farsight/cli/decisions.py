"""An explained decision."""

from farsight.pb.router_pb2 import Candidate, RoutedEndpoint, RouteReply
from farsight.pb.types_pb2 import Confidence, LatencyPrediction, Quantiles

PREDICTED = LatencyPrediction(
    ttft=Quantiles(q50_ms=41.23, q90_ms=1263.1), tpot=Quantiles(q50_ms=9.3, q90_ms=12.5)
)
SCORED = Candidate(
    endpoint_id="e0",
    device_tokens=131_072,
    host_tokens=65_536,
    storage_tokens=32_768,
    cached_tokens=131_072,
    confidence=Confidence.CONFIDENCE_EXACT,
    index_age_ms=140,
    load_age_ms=85,
    predicted=PREDICTED,
    scores={"slo-attainment": 0.93, "marginal-cost": 0.71},
    total_score=10.01,
    in_flight_requests=12,
    in_flight_prefill_tokens=98_304,
)
DROPPED = Candidate(
    endpoint_id="e1",
    filtered_by="available",
    confidence=Confidence.CONFIDENCE_DEGRADED,
    index_age_ms=5_300,
    load_age_ms=2**32 - 1,
    predicted=PREDICTED,
)


def decision() -> RouteReply:
    """e0 is chosen among two; e1 was dropped by a filter and never reported load."""
    return RouteReply(
        decision_id="d-1",
        request_id="r-1",
        endpoint=RoutedEndpoint(endpoint_id="e0", url="http://10.244.13.107:8000"),
        alternatives=[RoutedEndpoint(endpoint_id="e1", url="http://10.244.13.108:8000")],
        predicted=PREDICTED,
        prompt_tokens=2048,
        cached_tokens=1536,
        confidence=Confidence.CONFIDENCE_EXACT,
        profile="predicted",
        picker_reason="best total, no near tie",
        fallbacks=["predictor-timeout"],
        decision_ms=3.21,
        candidates=[SCORED, DROPPED],
    )
