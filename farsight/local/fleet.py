"""A fleet on loopback: etcd, NATS, pods (vLLM or emulated), a sidecar each, and every service."""

import asyncio
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from farsight.local.emulated import HARDWARE, TOKENIZER_DIR, emulator_command
from farsight.local.engine import EngineSpec, engine_command
from farsight.local.infra import etcd_command, etcd_health_url, nats_command, nats_health_url
from farsight.local.model import make_tokenizer
from farsight.local.ports import Ports
from farsight.local.process import Command, Process
from farsight.local.programs import ENGINE_PYTHON, model_dir
from farsight.local.ready import Probe, Progress, http_ok, silent, wait_ready
from farsight.local.services import KINDS, ServiceSpec, service_command, service_probe
from farsight.local.supervisor import Supervisor

READY_LIMIT_S = 300.0
PodKind = Literal["vllm", "emulated"]


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """How many of each, the pods' sizes, and extra flags per service kind or process name."""

    engines: int = 3
    indexers: int = 1
    predictors: int = 1
    trainers: int = 1
    routers: int = 2
    gateways: int = 1
    sidecars: bool = True
    pods: PodKind = "vllm"
    hardware: str = HARDWARE
    """Of emulated pods."""
    model: Path | None = None
    """None: the demo's; for emulated pods a tokenizer alone, which is made when it is not there."""
    engine_python: Path = ENGINE_PYTHON
    block_tokens: tuple[int, ...] = (32,)
    """Taken in turn by the pods."""
    kv_blocks: int = 400
    """Of the first block size; pods with other blocks hold as many tokens."""
    max_model_tokens: int = 4096
    max_requests: int = 32
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def model_path(self) -> Path:
        """Where the pods find their model, or their tokenizer."""
        return self.model or (model_dir("demo") if self.pods == "vllm" else TOKENIZER_DIR)

    @property
    def accelerator(self) -> str:
        """What the sidecars say of the pods."""
        return "cpu" if self.pods == "vllm" else self.hardware

    def replicas(self, kind: str) -> int:
        """How many of a service kind; one sidecar per engine."""
        counts = (
            self.indexers,
            self.predictors,
            self.trainers,
            self.routers,
            self.gateways,
            self.engines if self.sidecars else 0,
        )
        return dict(zip(KINDS, counts, strict=True))[kind]


@dataclass(frozen=True, slots=True)
class _Member:
    process: Process
    probe: Probe


class Fleet:
    """An async context manager; inside it everything runs and is ready, or entering it raises.

    Processes are named `etcd`, `nats`, `pod-0`, and `KIND-0` for services (`sidecar-0` stands
    beside `pod-0`). Logs and data lie in `run_dir`.
    """

    def __init__(self, spec: FleetSpec, run_dir: Path, progress: Progress = silent) -> None:
        self.spec = spec
        self.run_dir = run_dir
        self.engines: tuple[EngineSpec, ...] = ()
        self.services: tuple[ServiceSpec, ...] = ()
        self.etcd = ""
        self.nats = ""
        self._progress = progress
        self._members: dict[str, _Member] = {}
        self._resources = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self.spec.pods == "emulated" and self.spec.model is None:
            await asyncio.to_thread(make_tokenizer, TOKENIZER_DIR)
        async with AsyncExitStack() as resources:
            ports = resources.enter_context(Ports())
            temporary = resources.enter_context(tempfile.TemporaryDirectory(prefix="farsight-"))
            supervisor = await resources.enter_async_context(Supervisor(self.run_dir))
            self._plan(supervisor, ports, Path(temporary))
            await self._start(("etcd", "nats"))
            await self._start(name for name in self._members if name not in ("etcd", "nats"))
            self._resources = resources.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._resources.aclose()

    @property
    def names(self) -> tuple[str, ...]:
        """Every process."""
        return tuple(self._members)

    @property
    def gateway_url(self) -> str:
        """Base URL of the first gateway."""
        return self.replicas("gateway")[0].http_url

    def replicas(self, kind: str) -> tuple[ServiceSpec, ...]:
        """The replicas of a service kind."""
        return tuple(service for service in self.services if service.kind == kind)

    def service(self, name: str) -> ServiceSpec:
        """A service by process name; KeyError when there is none."""
        return {service.name: service for service in self.services}[name]

    def process(self, name: str) -> Process:
        """A process by name; KeyError when there is none."""
        return self._members[name].process

    async def kill(self, name: str) -> None:
        """SIGKILL, children included."""
        await self.process(name).kill()

    async def restart(self, name: str) -> None:
        """Start it again with the same flags and ports, and wait until it is ready."""
        await self.process(name).restart()
        await self.ready(name)

    async def ready(self, name: str, limit_s: float = READY_LIMIT_S) -> None:
        """Return when it is ready.

        :raises ProcessEnded: it has ended.
        :raises NotReady: it is not within the limit.
        """
        member = self._members[name]
        await wait_ready(member.process, member.probe, limit_s, self._progress)

    async def _start(self, names: Iterable[str]) -> None:
        """Start them side by side and wait for all; the first failure ends the waiting."""
        members = list(names)
        for name in members:
            await self.process(name).start()
        try:
            async with asyncio.TaskGroup() as tasks:
                for name in members:
                    tasks.create_task(self.ready(name), name=f"ready {name}")
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    def _plan(self, supervisor: Supervisor, ports: Ports, temporary_dir: Path) -> None:
        def add(command: Command, probe: Probe) -> None:
            self._members[command.name] = _Member(supervisor.add(command), probe)

        client, bus, monitor = ports.take(), ports.take(), ports.take()
        self.etcd, self.nats = f"127.0.0.1:{client}", f"nats://127.0.0.1:{bus}"
        self.engines = tuple(self._engine(i, ports) for i in range(self.spec.engines))
        self.services = tuple(
            self._service(kind, i, ports) for kind in KINDS for i in range(self.spec.replicas(kind))
        )
        supervisor.stage()
        add(
            etcd_command(self.run_dir / "etcd", client, ports.take()),
            http_ok(etcd_health_url(client)),
        )
        add(nats_command(self.run_dir / "nats", bus, monitor), http_ok(nats_health_url(monitor)))
        supervisor.stage()
        for engine in self.engines:
            add(self._pod_command(engine, temporary_dir), http_ok(engine.health_url))
        supervisor.stage()
        for service in self.services:
            add(service_command(service), service_probe(service))

    def _pod_command(self, engine: EngineSpec, temporary_dir: Path) -> Command:
        if self.spec.pods == "emulated":
            return emulator_command(engine, self.spec.hardware)
        return engine_command(engine, temporary_dir, self.spec.engine_python)

    def _engine(self, index: int, ports: Ports) -> EngineSpec:
        sizes = self.spec.block_tokens
        block_tokens = sizes[index % len(sizes)]
        return EngineSpec(
            name=f"pod-{index}",
            model=self.spec.model_path,
            port=ports.take(),
            events_port=ports.take(),
            replay_port=ports.take(),
            block_tokens=block_tokens,
            kv_blocks=self.spec.kv_blocks * sizes[0] // block_tokens,
            max_model_tokens=self.spec.max_model_tokens,
            max_requests=self.spec.max_requests,
            accelerator=self.spec.accelerator,
        )

    def _service(self, kind: str, index: int, ports: Ports) -> ServiceSpec:
        name = f"{kind}-{index}"
        return ServiceSpec(
            kind=kind,
            name=name,
            port=ports.take(),
            metrics_port=ports.take(),
            etcd=self.etcd,
            nats=self.nats,
            http_port=ports.take() if kind == "gateway" else None,
            engine=self.engines[index] if kind == "sidecar" else None,
            extra_flags=(*self.spec.flags.get(kind, ()), *self.spec.flags.get(name, ())),
        )
