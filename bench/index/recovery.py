"""Restart to EXACT: a fresh index reads 64 endpoints' snapshots, 10 M blocks, from NATS.

The sidecars are scripted by one process: their snapshots lie in the object store, they answer
where, and send heartbeats four times a second. Time runs from the start of the feed, with the
kernels loaded, to the moment when every endpoint is EXACT; connecting to NATS is in it.
"""

from functools import partial
from statistics import median

from bench.index import servers
from bench.index.feed_reader import FeedReader
from bench.index.processes import Cores, Worker
from bench.index.progress import Progress
from bench.index.scripted_sidecars import ScriptedSidecars
from bench.index.sizes import Sizes
from bench.index.workload import DELTA_BLOCKS, Workload, build


def measure(sizes: Sizes, cores: Cores) -> dict[str, float]:
    """`recovery_10m_s`."""
    held = sizes.recovery_blocks
    times_s = []
    with servers.nats() as url:
        ready = Progress()
        held_by = partial(holding, held, sizes.endpoints)
        make = partial(ScriptedSidecars, url, held_by, sizes.endpoints, ready)
        with Worker(make, cores.load) as sidecars:
            sidecars.start(ScriptedSidecars.serve)
            ready.wait_for(1)
            for _ in range(sizes.repetitions):
                reader = partial(FeedReader, url, Progress(), Progress())
                with Worker(reader, cores.measured) as indexer:
                    started, exact, blocks = indexer.do(FeedReader.recover, sizes.endpoints)
                assert blocks == held // DELTA_BLOCKS * DELTA_BLOCKS, blocks
                times_s.append(exact - started)
    return {"recovery_10m_s": median(times_s)}


def holding(blocks: int, endpoints: int) -> Workload:
    """So many pairs of block and endpoint."""
    return build(blocks, endpoints).first(blocks)
