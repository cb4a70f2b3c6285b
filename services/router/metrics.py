"""Metrics of the router."""

from prometheus_client import Counter

from farsight.metrics import counter, gauge, histogram

decisions = counter(
    "farsight_router_decisions",
    "Decisions, by scheduling profile and endpoint",
    ("profile", "endpoint"),
)
decision_seconds = histogram(
    "farsight_router_decision_seconds", "Arrival of a Route call to its decision"
)
fallbacks = counter(
    "farsight_router_fallbacks",
    "Steps that were late or down and were replaced, by reason",
    ("reason",),
)
predicted_ttft_seconds = histogram(
    "farsight_router_predicted_ttft_seconds", "Predicted median TTFT of the chosen endpoint"
)
ttft_error_ratio = histogram(
    "farsight_router_ttft_error_ratio",
    "Measured over predicted median TTFT of finished requests",
    buckets=(0.1, 0.25, 0.5, 0.67, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0, 10.0),
)
ttft_within_q90 = counter(
    "farsight_router_ttft_within_q90",
    "Finished requests, by TTFT at most its predicted q90",
    ("met",),
)
cached_tokens_predicted = counter(
    "farsight_router_cached_tokens_predicted",
    "Cached tokens predicted for finished requests that report them, by endpoint",
    ("endpoint",),
)
cached_tokens_actual = counter(
    "farsight_router_cached_tokens_actual",
    "Cached tokens that the engines reported for the same requests, by endpoint",
    ("endpoint",),
)
prompt_tokens = counter(
    "farsight_router_prompt_tokens",
    "Prompt tokens of the same requests, by endpoint",
    ("endpoint",),
)
cached_error_tokens = histogram(
    "farsight_router_cached_error_tokens",
    "Predicted minus reported cached tokens of a request, by endpoint and confidence",
    ("endpoint", "confidence"),
    buckets=(-4096, -1024, -256, -64, -16, -1, 0, 1, 16, 64, 256, 1024, 4096),
)
cached_drift_tokens = gauge(
    "farsight_router_cached_drift_tokens",
    "Mean error of an endpoint's exact predictions while it persists, 0 otherwise",
    ("endpoint", "direction"),
)
kv_doubts = counter(
    "farsight_router_kv_doubts",
    "Times that persistent over-prediction made the index load a fresh snapshot, by endpoint",
    ("endpoint",),
)
speculative_tokens = counter(
    "farsight_router_speculative_tokens",
    "Cached tokens that only prompts on their way stood for, by whether the engine found them",
    ("result",),
)
speculative_prompts = counter(
    "farsight_router_speculative_prompts",
    "Prompts on their way that are over, by why",
    ("result",),
)
routed_prompts = counter(
    "farsight_router_routed_prompts",
    "Prompts that router replicas tell each other, by what became of them",
    ("result",),
)
in_flight = gauge(
    "farsight_router_in_flight_requests",
    "Reserved requests over all replicas, by endpoint",
    ("endpoint",),
)
reservations_expired = counter(
    "farsight_router_reservations_expired",
    "Reservations that ended without a report: their lease ran out, or too many were open",
)
reports = counter("farsight_router_reports", "Report events, by kind", ("kind",))
samples = counter("farsight_router_samples", "Samples, by what became of them", ("result",))
endpoints = gauge("farsight_router_endpoints", "Endpoints known, by state", ("state",))
load_age_seconds = gauge(
    "farsight_router_load_age_seconds", "Age of the last load report, by endpoint", ("endpoint",)
)
profiles_refused = counter(
    "farsight_router_profiles_refused", "Scheduling profiles in etcd that were refused"
)
tokenizers_failed = counter(
    "farsight_router_tokenizers_failed", "Tokenizers that could not be loaded"
)
peers = gauge("farsight_router_peers", "Other router replicas heard from lately")


_series: dict[tuple[Counter, tuple[str, ...]], Counter] = {}


def series(of: Counter, *labels: str) -> Counter:
    """The labelled series, remembered: the client library takes microseconds to find it."""
    found = _series.get((of, labels))
    if found is None:
        found = _series[of, labels] = of.labels(*labels)
    return found


def forget_endpoint(endpoint_id: str) -> None:
    """Drop the series of an endpoint that left, so that pods that come and go leave nothing."""
    _series.clear()
    for metric in (
        decisions,
        cached_tokens_predicted,
        cached_tokens_actual,
        prompt_tokens,
        cached_error_tokens,
        cached_drift_tokens,
        kv_doubts,
        in_flight,
        load_age_seconds,
    ):
        metric.remove_by_labels({"endpoint": endpoint_id})
