"""The flags of every service: the one table to change when a service learns a new one."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from farsight.local.engine import EngineSpec
from farsight.local.process import Command
from farsight.local.programs import PROJECT_ROOT
from farsight.local.ready import Probe, grpc_serving, http_ok

KINDS = ("indexer", "predictor", "trainer", "router", "gateway", "sidecar")


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One replica: where it listens, whom it talks to, and flags beyond the table's."""

    kind: str
    name: str
    port: int
    metrics_port: int
    etcd: str
    nats: str
    http_port: int | None = None
    engine: EngineSpec | None = None
    extra_flags: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """host:port of its gRPC server."""
        return f"127.0.0.1:{self.port}"

    @property
    def metrics_url(self) -> str:
        """Its Prometheus page."""
        return f"http://127.0.0.1:{self.metrics_port}/metrics"

    @property
    def http_url(self) -> str:
        """Base URL of its HTTP API, for a gateway."""
        assert self.http_port is not None, self.name
        return f"http://127.0.0.1:{self.http_port}"


def _sidecar_flags(spec: ServiceSpec) -> tuple[str, ...]:
    assert spec.engine is not None, spec.name
    return (
        *("--engine-url", spec.engine.url),
        *("--endpoint-id", spec.engine.name),
        *("--pool", "default"),
        *("--accelerator", spec.engine.accelerator),
    )


def _gateway_flags(spec: ServiceSpec) -> tuple[str, ...]:
    return ("--http-listen", f"127.0.0.1:{spec.http_port}")


_FLAGS: Mapping[str, Callable[[ServiceSpec], tuple[str, ...]]] = {
    "sidecar": _sidecar_flags,
    "gateway": _gateway_flags,
}


def service_command(spec: ServiceSpec) -> Command:
    """`python -m services.KIND` with the common flags, the kind's own, and the extra ones."""
    own = _FLAGS[spec.kind](spec) if spec.kind in _FLAGS else ()
    return Command(
        name=spec.name,
        argv=(
            *(sys.executable, "-m", f"services.{spec.kind}"),
            *("--etcd", spec.etcd),
            *("--nats", spec.nats),
            *("--listen", spec.address),
            *("--metrics-listen", f"127.0.0.1:{spec.metrics_port}"),
            *("--replica-id", spec.name),
            *("--log-format", "text"),
            *own,
            *spec.extra_flags,
        ),
        # Two cores are shared with the pods: one thread per pool of a numeric library.
        env={"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        cwd=PROJECT_ROOT,
    )


def service_probe(spec: ServiceSpec) -> Probe:
    """Ready: gRPC health says SERVING; a gateway answers GET /readyz."""
    if spec.kind == "gateway":
        return http_ok(f"{spec.http_url}/readyz")
    return grpc_serving(spec.address)
