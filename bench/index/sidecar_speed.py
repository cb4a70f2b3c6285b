"""Sidecar at full speed: from an engine's ZMQ batches to deltas that a NATS subscriber has read.

`sidecar_` is an engine that fills an empty cache, `sidecar_churn_` one that removes as much as it
stores; removed blocks count there too. `_cpu_s` is a second of the sidecar's processor time. The
batches are described in `engine_batches`.
"""

from functools import partial
from statistics import median

from bench.index import engine_batches, servers
from bench.index.delta_receiver import DeltaReceiver
from bench.index.engine_stand_in import EngineStandIn
from bench.index.processes import Cores, Worker
from bench.index.progress import Progress
from bench.index.sidecar_process import ENDPOINT, SidecarProcess
from bench.index.sizes import Sizes

CACHE_SHARE = 4
"""A churning engine's cache has room for one in so many of the blocks."""


def measure(sizes: Sizes, cores: Cores) -> dict[str, float]:
    """`sidecar_blocks_per_s` and `sidecar_churn_blocks_per_s`."""
    count = sizes.sidecar_batches
    room = count * (engine_batches.SPANS * engine_batches.SPAN_BLOCKS) // CACHE_SHARE
    kinds = {
        "sidecar_blocks_per_": partial(engine_batches.build, count),
        "sidecar_churn_blocks_per_": partial(engine_batches.build, count // 2, max_blocks=room),
    }
    found = {}
    for name, batches in kinds.items():
        received = Progress()
        with Worker(partial(EngineStandIn, batches, received), cores.load) as engine:
            runs = [run(engine, received, cores) for _ in range(sizes.repetitions)]
        found[f"{name}s"] = median(rate for rate, _ in runs)
        found[f"{name}cpu_s"] = median(rate for _, rate in runs)
    return found


def run(engine: Worker[EngineStandIn], received: Progress, cores: Cores) -> tuple[float, float]:
    """Blocks through a fresh sidecar, in a second and in a second of its processor time."""
    received.set(0)
    ready = Progress()
    addresses, blocks = engine.do(EngineStandIn.addresses), engine.do(EngineStandIn.blocks)
    with servers.nats() as url:
        receiving = partial(DeltaReceiver, url, ENDPOINT, ready, received)
        following = partial(SidecarProcess, url, addresses)
        with (
            Worker(receiving, cores.load) as receiver,
            Worker(following, cores.measured) as sidecar,
        ):
            receiver.start(DeltaReceiver.blocks, sum(blocks))
            ready.wait_for(1)
            sidecar.start(SidecarProcess.follow)
            engine.do(EngineStandIn.until_followed, with_replay=True)
            cpu_s = sidecar.cpu_s()
            began = engine.do(EngineStandIn.publish_all)
            ended, _ = receiver.result()[-1]
            cpu_s = sidecar.cpu_s(cpu_s)
    return sum(blocks) / (ended - began), sum(blocks) / cpu_s
