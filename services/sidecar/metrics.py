"""Metrics of the sidecar."""

import math

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
saved_mirrors = counter(
    "farsight_sidecar_saved_mirrors",
    "Looks for the mirror that an earlier sidecar or epoch has stored, by what came of it",
    ("result",),
)
saved_mirror_bytes = gauge(
    "farsight_sidecar_saved_mirror_bytes", "Size of the last mirror stored, bytes"
)
hash_agreement_ratio = gauge(
    "farsight_sidecar_hash_agreement_ratio",
    "Share of the engine's recent block hashes, in a sample, that its events explain; NaN while "
    "the engine's hash algorithm is not known",
)
hash_agreement_ratio.set(math.nan)
hashes_compared = counter(
    "farsight_sidecar_hashes_compared",
    "Block hashes of the engine computed again, by algorithm",
    ("algorithm",),
)
hashes_disagreeing = counter(
    "farsight_sidecar_hashes_disagreeing",
    "Block hashes that were another when computed again, by algorithm",
    ("algorithm",),
)
scrape_seconds = histogram("farsight_sidecar_scrape_seconds", "Reading the engine's /metrics")
scrape_failures = counter(
    "farsight_sidecar_scrape_failures", "Reads of /metrics that failed, by reason", ("reason",)
)
probe_failures = counter("farsight_sidecar_probe_failures", "Health probes that failed")
registered = gauge("farsight_sidecar_registered", "1 while the endpoint's record is in etcd")
