"""One real vLLM pod on this machine, for as long as it is measured."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from farsight.local.engine import EngineSpec, engine_command
from farsight.local.ports import Ports
from farsight.local.process import Process
from farsight.local.programs import model_dir
from farsight.local.ready import Progress, http_ok, silent, wait_ready
from farsight.local.supervisor import Supervisor
from sim.validation.records import PodSizes

_READY_LIMIT_S = 300.0
MODEL_SIZE = "demo"
VOCABULARY = 4096
"""Of that model."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that serves."""

    spec: EngineSpec
    process: Process


@asynccontextmanager
async def running_pod(
    sizes: PodSizes, run_dir: Path, progress: Progress = silent
) -> AsyncIterator[Pod]:
    """Start a pod and wait until it serves; its log lies in `run_dir`.

    :raises LocalFleetError: it does not start.
    """
    async with AsyncExitStack() as resources:
        ports = resources.enter_context(Ports())
        temporary = resources.enter_context(tempfile.TemporaryDirectory(prefix="farsight-"))
        supervisor = await resources.enter_async_context(Supervisor(run_dir))
        spec = EngineSpec(
            name="pod",
            model=model_dir(MODEL_SIZE),
            port=ports.take(),
            events_port=ports.take(),
            replay_port=ports.take(),
            block_tokens=sizes.block_tokens,
            kv_blocks=sizes.kv_blocks,
            max_model_tokens=sizes.max_model_tokens,
            max_requests=sizes.max_requests,
        )
        process = supervisor.add(engine_command(spec, Path(temporary)))
        await process.start()
        await wait_ready(process, http_ok(spec.health_url), _READY_LIMIT_S, progress)
        yield Pod(spec, process)
