"""The parts of the benchmark by the names that `--only` takes, in the order they run."""

from collections.abc import Callable, Mapping

from bench.index import (
    clearing,
    match450,
    match8192,
    match_rpc,
    nats_ingest,
    recovery,
    sidecar_latency,
    sidecar_speed,
    table_ingest,
)
from bench.index.processes import Cores
from bench.index.results import Figures
from bench.index.sizes import Sizes

PARTS: Mapping[str, Callable[[Sizes, Cores], Figures]] = {
    "ingest": table_ingest.measure,
    "match450": match450.measure,
    "match8192": match8192.measure,
    "clear": clearing.measure,
    "nats": nats_ingest.measure,
    "sidecar": sidecar_speed.measure,
    "sidecar-latency": sidecar_latency.measure,
    "rpc": match_rpc.measure,
    "recovery": recovery.measure,
}
