"""Prometheus metrics: how they are declared and served.

Names are `farsight_<service>_<thing>_<unit>`; labels come from closed lists. Each service declares
its own in `services/<name>/metrics.py`.
"""

from collections.abc import Sequence
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from farsight.addresses import split_host_port

LATENCY_BUCKETS_S = (
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0, 60.0,
)  # fmt: skip


def counter(name: str, doc: str, labels: Sequence[str] = ()) -> Counter:
    """A counter on the default registry; Prometheus adds `_total` to its name."""
    return Counter(name, doc, labels)


def gauge(name: str, doc: str, labels: Sequence[str] = ()) -> Gauge:
    """A gauge on the default registry."""
    return Gauge(name, doc, labels)


def histogram(
    name: str,
    doc: str,
    labels: Sequence[str] = (),
    buckets: Sequence[float] = LATENCY_BUCKETS_S,
) -> Histogram:
    """A histogram on the default registry; the default buckets are seconds."""
    return Histogram(name, doc, labels, buckets=tuple(buckets))


class Exporter:
    """Serves `/metrics` on a thread of its own, so that a busy event loop is still seen."""

    def __init__(self, listen: str) -> None:
        host, port = split_host_port(listen)
        self._server: WSGIServer
        self._thread: Thread
        self._server, self._thread = start_http_server(port, addr=host)
        self.address = f"{host}:{self._server.server_port}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


rpc_seconds = histogram(
    "farsight_rpc_seconds", "gRPC calls served, by method and status", ("method", "code")
)
bus_dropped = counter(
    "farsight_bus_dropped", "Messages not sent because NATS was away, by kind", ("kind",)
)
bus_connected = gauge("farsight_bus_connected", "1 while NATS is connected")
etcd_connected = gauge("farsight_etcd_connected", "1 while the last call to etcd worked")
etcd_relists = counter("farsight_etcd_relists", "Watches of etcd that broke and were made anew")
bad_records = counter(
    "farsight_bad_records", "Records from etcd or NATS that were refused, by kind", ("kind",)
)
