"""NATS to table: an `IndexFeed` in one process, deltas of 64 keys from another through nats-server.

The publisher's messages are encoded beforehand, and it keeps WINDOW messages ahead of what has been
applied, so that NATS never takes the reader for a slow one. Its own limit, with nobody who reads,
is `nats_publish_limit_blocks_per_s`.
"""

from functools import partial
from statistics import median

from bench.index import servers
from bench.index.delta_publisher import DeltaSource
from bench.index.feed_reader import FeedReader
from bench.index.processes import Cores, Worker
from bench.index.progress import Progress
from bench.index.sizes import Sizes
from bench.index.workload import DELTA_BLOCKS


def measure(sizes: Sizes, cores: Cores) -> dict[str, float]:
    """`nats_ingest_blocks_per_s`, after a check that every delta was applied."""
    rates, cpu_rates, limits = [], [], []
    for _ in range(sizes.repetitions):
        with servers.nats() as url:
            ready, applied = Progress(), Progress()
            source = partial(DeltaSource, url, sizes.nats_blocks, sizes.endpoints, applied)
            with Worker(source, cores.load) as publisher:
                limits.append(publisher.do(DeltaSource.limit_blocks_per_s))
                deltas = publisher.do(DeltaSource.count)
                with Worker(partial(FeedReader, url, ready, applied), cores.measured) as indexer:
                    indexer.start(FeedReader.follow, deltas)
                    ready.wait_for(1)
                    cpu_s = indexer.cpu_s()
                    began = publisher.do(DeltaSource.publish)
                    spent_s = indexer.result() - began
                    cpu_s = indexer.cpu_s(cpu_s)
        cpu_rates.append(deltas * DELTA_BLOCKS / cpu_s)
        rates.append(deltas * DELTA_BLOCKS / spent_s)
    return {
        "nats_ingest_blocks_per_s": median(rates),
        "nats_ingest_blocks_per_cpu_s": median(cpu_rates),
        "nats_publish_limit_blocks_per_s": median(limits),
    }
