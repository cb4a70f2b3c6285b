"""Metrics of the sidecar."""

from farsight.metrics import counter, gauge, histogram

batches = counter("farsight_sidecar_batches", "KV-event batches applied")
events = counter("farsight_sidecar_events", "KV events applied, by kind", ("kind",))
ignored_events = counter(
    "farsight_sidecar_ignored_events",
    "KV events or blocks that are not indexed, by reason",
    ("reason",),
)
bad_batches = counter(
    "farsight_sidecar_bad_batches", "KV-event batches that could not be decoded", ("reason",)
)
gaps = counter("farsight_sidecar_gaps", "Gaps found in the engine's sequence numbers")
replays = counter(
    "farsight_sidecar_replays",
    "Replay answers, by whether they had holes or never came",
    ("state",),
)
epochs = counter("farsight_sidecar_epochs", "Epochs begun, by why the last one ended", ("reason",))
kv_exact = gauge("farsight_sidecar_kv_exact", "1 while the mirror equals the engine's cache")
mirror_blocks = gauge("farsight_sidecar_mirror_blocks", "Canonical blocks held, by tier", ("tier",))
deltas = counter(
    "farsight_sidecar_deltas", "KvDelta messages, by whether NATS took them", ("sent",)
)
snapshots = counter("farsight_sidecar_snapshots", "Snapshots stored, by what asked", ("trigger",))
snapshot_failures = counter(
    "farsight_sidecar_snapshot_failures", "Snapshots that could not be stored"
)
snapshot_bytes = gauge("farsight_sidecar_snapshot_bytes", "Size of the last snapshot, bytes")
scrape_seconds = histogram("farsight_sidecar_scrape_seconds", "Reading the engine's /metrics")
scrape_failures = counter(
    "farsight_sidecar_scrape_failures", "Reads of /metrics that failed, by reason", ("reason",)
)
probe_failures = counter("farsight_sidecar_probe_failures", "Health probes that failed")
registered = gauge("farsight_sidecar_registered", "1 while the endpoint's record is in etcd")
