"""Metrics of the gateway."""

from farsight.metrics import counter, gauge, histogram

requests = counter(
    "farsight_gateway_requests",
    "HTTP requests, by route and status; 499: the client went away",
    ("route", "code"),
)
retries = counter(
    "farsight_gateway_retries",
    "Tries that failed before their first byte, by reason",
    ("reason",),
)
broken_streams = counter(
    "farsight_gateway_broken_streams",
    "Streams that an engine ended after their first byte, by reason",
    ("reason",),
)
in_flight = gauge("farsight_gateway_in_flight_requests", "Requests that are being answered")
ttft_seconds = histogram(
    "farsight_gateway_ttft_seconds", "Arrival to first token of streamed requests"
)
tpot_seconds = histogram(
    "farsight_gateway_tpot_seconds", "Time per output token after the first of streamed requests"
)
e2e_seconds = histogram("farsight_gateway_e2e_seconds", "Arrival to end of completed requests")
