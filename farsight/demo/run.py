"""The demo from start to summary."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
from rich.console import Console

from farsight import discovery
from farsight.client import RouterClient
from farsight.demo.figures import PhaseFigures, exact_share, phase_figures
from farsight.demo.live import LiveTable
from farsight.demo.phases import clear_caches, run_phase, run_probes, time_decisions
from farsight.demo.senders import GatewaySender, RouteApiSender, Sender, Sent
from farsight.demo.summary import Summary
from farsight.demo.workload import WorkloadSpec
from farsight.errors import BadRecord
from farsight.etcd import Etcd
from farsight.local.engine import SERVED_MODEL
from farsight.local.fleet import Fleet, FleetSpec, PodKind
from farsight.local.programs import PROJECT_ROOT
from farsight.local.ready import State

CONCURRENCY = 5
LOG_WIDTH = 120  # without a terminal
# Three caches hold the groups' prefixes once, but not three times.
KV_BLOCKS = 260
RUN_DIR = PROJECT_ROOT / "build" / "demo"
FIGURES = PROJECT_ROOT / "build" / "demo.json"

WORKLOAD = WorkloadSpec()
PROBES = WorkloadSpec(groups=7, users_per_group=2, turns=3, output_tokens=6, seed=11)

# Two cores carry three engines, every service and the clients: budgets are wide, fits are early.
FLAGS: Mapping[str, tuple[str, ...]] = {
    "router": ("--index-budget-ms", "250", "--predictor-budget-ms", "250"),
    "trainer": (
        *("--min-samples", "60"),
        *("--refit-samples", "40"),
        *("--refit-interval-s", "10"),
    ),
}

NAMES: Mapping[PodKind, str] = {"vllm": "vLLM", "emulated": "emulated"}


class Demo:
    """Runs once."""

    def __init__(self, keep: bool, pods: PodKind = "vllm") -> None:
        self._keep = keep
        self._pods = pods
        self._console = Console()
        if not self._console.is_terminal:
            self._console = Console(width=LOG_WIDTH)
        self._versions: list[int] = []
        self._started_s = time.monotonic()

    async def run(self) -> int:
        """Exit code: 0 when every request was served."""
        shutil.rmtree(RUN_DIR, ignore_errors=True)
        self._console.print(
            f"[bold]Starting etcd, NATS, three {NAMES[self._pods]} pods and Farsight on this "
            f"machine[/] (logs: {RUN_DIR.relative_to(PROJECT_ROOT)})"
        )
        async with Fleet(
            FleetSpec(pods=self._pods, kv_blocks=KV_BLOCKS, flags=FLAGS), RUN_DIR, self._progress
        ) as fleet:
            start_s = time.monotonic() - self._started_s
            async with self._clients(fleet) as (http, etcd, routers):
                await self._wait_for_endpoints(etcd, len(fleet.engines))
                summary = await self._measure(fleet, http, etcd, routers, start_s)
            summary.write(FIGURES)
            summary.show(self._console)
            if self._keep:
                await self._stay(fleet)
        figures = (summary.farsight.failed, summary.round_robin.failed, summary.probes_failed)
        return 1 if any(figures) else 0

    def _progress(self, name: str, state: State, seconds: float) -> None:
        if state is not State.STARTING:
            self._console.print(f"  {state.value:<8} {name:<12} {seconds:5.1f} s")

    @asynccontextmanager
    async def _clients(
        self, fleet: Fleet
    ) -> AsyncIterator[tuple[aiohttp.ClientSession, Etcd, RouterClient]]:
        async with AsyncExitStack() as stack:
            timeout = aiohttp.ClientTimeout(total=300)
            http = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
            etcd = Etcd(fleet.etcd)
            stack.push_async_callback(etcd.close)
            routers = await stack.enter_async_context(RouterClient(etcd))
            watch = asyncio.create_task(etcd.watch(discovery.BUNDLES_PREFIX, self._on_bundles))
            stack.push_async_callback(_cancelled, watch)
            yield http, etcd, routers

    def _on_bundles(self, values: Mapping[str, bytes]) -> None:
        for value in values.values():
            with contextlib.suppress(BadRecord):
                pointer = discovery.decode_bundle_pointer(value)
                if pointer.version not in self._versions:
                    self._versions.append(pointer.version)
                    self._console.print(
                        f"[green]latency model version {pointer.version} is live[/], "
                        f"fitted on {pointer.sample_count} samples"
                    )

    async def _wait_for_endpoints(self, etcd: Etcd, pods: int) -> None:
        """Every pod is known to the router through its sidecar."""
        async with asyncio.timeout(60):
            while len((await etcd.list_prefix(discovery.ENDPOINTS_PREFIX))[0]) < pods:  # noqa: ASYNC110
                await asyncio.sleep(0.2)

    async def _measure(
        self,
        fleet: Fleet,
        http: aiohttp.ClientSession,
        etcd: Etcd,
        routers: RouterClient,
        start_s: float,
    ) -> Summary:
        gateway = GatewaySender(http, fleet.gateway_url, SERVED_MODEL)
        senders = (gateway, RouteApiSender(http, routers, SERVED_MODEL))
        engines = [engine.url for engine in fleet.engines]
        phases: dict[str, PhaseFigures] = {}
        async with LiveTable(self._console, etcd) as live:
            for profile in ("round-robin", "predicted"):
                await clear_caches(http, engines, SERVED_MODEL)
                live.begin(f"{profile}: {WORKLOAD.requests} requests, {CONCURRENCY} at a time")
                sent = await run_phase(WORKLOAD, profile, senders, CONCURRENCY, live.took)
                phases[profile] = phase_figures(sent)
            await asyncio.sleep(1)
            live.begin(f"probes: {PROBES.requests} requests, one at a time, both profiles")
            probes = await self._probe(gateway, live)
        share, settled = exact_share(probes)
        p50_ms, p99_ms = await time_decisions(routers, SERVED_MODEL)
        return Summary(
            pods=NAMES[self._pods],
            start_s=start_s,
            round_robin=phases["round-robin"],
            farsight=phases["predicted"],
            exact_share=share,
            settled_requests=settled,
            probes_failed=sum(bool(s.failed) for s in probes),
            route_p50_ms=p50_ms,
            route_p99_ms=p99_ms,
            bundle_versions=(0, *self._versions),
        )

    async def _probe(self, gateway: Sender, live: LiveTable) -> list[Sent]:
        return await run_probes(PROBES, ("predicted", "round-robin"), gateway, live.took)

    async def _stay(self, fleet: Fleet) -> None:
        chat = '{"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}'
        self._console.print(
            f"\ngateway  {fleet.gateway_url}\n"
            + "".join(f"router   {r.address}\n" for r in fleet.replicas("router"))
            + f"etcd     {fleet.etcd}\nNATS     {fleet.nats}\n\n"
            "Try:\n"
            f"  curl -i {fleet.gateway_url}/v1/chat/completions "
            f"-H 'content-type: application/json' -d '{chat}'\n"
            f"  .venv/bin/farsight route --etcd {fleet.etcd} --model tiny --text 'hello there'\n\n"
            "Ctrl-C stops everything.",
            soft_wrap=True,
        )
        await asyncio.Event().wait()


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
