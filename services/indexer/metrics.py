"""Metrics of the indexer."""

from farsight.metrics import gauge, histogram

match_blocks = histogram(
    "farsight_indexer_match_blocks",
    "Keys per Match call",
    buckets=(1, 4, 16, 64, 256, 1024, 4096, 16384),
)
endpoints = gauge(
    "farsight_indexer_endpoints", "Endpoints that the index knows, by confidence", ("confidence",)
)
held_endpoints = gauge(
    "farsight_indexer_held_endpoints", "Endpoints that this replica holds: all, or its share"
)
_held_blocks = gauge(
    "farsight_indexer_held_blocks", "Blocks of all endpoints that are held, by tier", ("tier",)
)
held_blocks = [_held_blocks.labels(tier) for tier in ("device", "host", "storage")]
distinct_blocks = gauge("farsight_indexer_distinct_blocks", "Block keys in the device table")
table_bytes = gauge("farsight_indexer_table_bytes", "Memory of the tables, bytes")
budget_bytes = gauge("farsight_indexer_budget_bytes", "Most memory that the tables may take, bytes")
lag_deltas = gauge(
    "farsight_indexer_lag_deltas", "Deltas announced and not applied yet, over all endpoints"
)
