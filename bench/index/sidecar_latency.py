"""What a sidecar adds at 2,000 blocks/s, from ZMQ send to the delta's arrival at a NATS subscriber.

The same path without a sidecar's work is measured in turns with it: a process that publishes each
batch as it is. Percentiles are of one stretch, and medians over the stretches.
"""

from functools import partial
from statistics import median

import numpy as np

from bench.index import engine_batches, servers
from bench.index.delta_receiver import Arrivals, DeltaReceiver
from bench.index.engine_stand_in import EngineStandIn
from bench.index.processes import Cores, Worker
from bench.index.progress import Progress
from bench.index.sidecar_process import ENDPOINT, SidecarProcess
from bench.index.sizes import Sizes

BLOCKS_PER_S = 2_000
DECODE_EVENTS = 2
WARM_BATCHES = 5


def measure(sizes: Sizes, cores: Cores) -> dict[str, float]:
    """`sidecar_p50_ms`, `sidecar_p99_ms`, `sidecar_echo_...` and `sidecar_added_p99_ms`."""
    count = int(sizes.latency_s * BLOCKS_PER_S / (engine_batches.SPAN_BLOCKS + DECODE_EVENTS))
    batches = partial(
        engine_batches.build, WARM_BATCHES + count, spans=1, decode_events=DECODE_EVENTS
    )
    found: dict[str, list[float]] = {}
    received = Progress()
    with servers.nats() as url, Worker(partial(EngineStandIn, batches, received), cores.load) as e:
        for _ in range(sizes.repetitions):
            for name in ("sidecar", "sidecar_echo"):
                times_ms = stretch(e, received, url, cores, is_echo=name == "sidecar_echo")
                for percent in (50, 99):
                    value = float(np.percentile(times_ms, percent))
                    found.setdefault(f"{name}_p{percent}_ms", []).append(value)
    medians = {name: median(values) for name, values in found.items()}
    for which in ("p50", "p99"):
        added = medians[f"sidecar_{which}_ms"] - medians[f"sidecar_echo_{which}_ms"]
        medians[f"sidecar_added_{which}_ms"] = added
    return medians


def stretch(
    engine: Worker[EngineStandIn], received: Progress, url: str, cores: Cores, is_echo: bool
) -> list[float]:
    """Milliseconds of each batch through a fresh process."""
    received.set(0)
    ready = Progress()
    addresses, blocks = engine.do(EngineStandIn.addresses), engine.do(EngineStandIn.blocks)
    amounts = [1] * len(blocks) if is_echo else blocks
    receiving = partial(DeltaReceiver, url, ENDPOINT, ready, received)
    following = partial(SidecarProcess, url, addresses)
    with Worker(receiving, cores.load) as receiver, Worker(following, cores.measured) as between:
        reads = DeltaReceiver.messages if is_echo else DeltaReceiver.blocks
        receiver.start(reads, sum(amounts))
        ready.wait_for(1)
        between.start(SidecarProcess.echo if is_echo else SidecarProcess.follow)
        engine.do(EngineStandIn.until_followed, with_replay=not is_echo)
        sent_at = engine.do(EngineStandIn.publish_paced, BLOCKS_PER_S)
        return latencies_ms(sent_at, amounts, receiver.result())[WARM_BATCHES:]


def latencies_ms(sent_at: list[float], amounts: list[int], arrivals: Arrivals) -> list[float]:
    """From the send of each batch to the moment when all up to its end had arrived."""
    arrived_at = np.array([at for at, _ in arrivals])
    counts = np.array([count for _, count in arrivals])
    whole = np.searchsorted(counts, np.cumsum(amounts))
    late: list[float] = ((arrived_at[whole] - np.array(sent_at)) * 1000).tolist()
    return late
