"""Metrics of a process that asks routers."""

from farsight.metrics import counter

failovers = counter(
    "farsight_client_failovers",
    "Route calls that left a router replica for the next one, by gRPC status",
    ("reason",),
)
reports_dropped = counter(
    "farsight_client_reports_dropped",
    "Report events that no router got, by reason",
    ("reason",),
)
report_streams_broken = counter(
    "farsight_client_report_streams_broken", "Report streams that broke and were opened anew"
)
