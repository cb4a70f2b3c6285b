"""Table ingest and memory: deltas of 64 keys into an empty table, which grows with them.

A block that comes counts once for each endpoint that stores it; memory is told per distinct block.
Our table says what its arrays take; `rss_` is the growth of the process, which is all that the
peers can be asked for. `sized_` is the table with room for everything from the start, `_cpu_s` is a
second of processor time.
"""

from functools import partial
from statistics import median

from bench.index import contenders
from bench.index.contenders import Contenders
from bench.index.filling import CHUNK_DELTAS, fill
from bench.index.holder import Holder
from bench.index.memory import resident_bytes
from bench.index.own_holders import TableHolder
from bench.index.processes import Cores, Worker
from bench.index.sizes import Sizes
from bench.index.workload import build
from farsight.table import MAX_LOAD

Run = dict[str, float]


def measure(sizes: Sizes, cores: Cores) -> dict[str, float]:
    """`ingest_blocks_per_s`, `bytes_per_block` and the like, of us and of the peers."""
    capacity = int(sizes.distinct_blocks / MAX_LOAD)
    makers: Contenders = {
        **contenders.own_table(sizes.endpoints),
        "sized_": partial(TableHolder, sizes.endpoints, capacity),
        **contenders.peers(sizes.endpoints),
    }
    runs: dict[str, list[Run]] = {prefix: [] for prefix in makers}
    for _ in range(sizes.repetitions):
        for prefix, make in makers.items():
            with Worker(make, cores.measured) as worker:
                runs[prefix].append(worker.do(run, sizes.distinct_blocks, sizes.endpoints))
    found = {
        f"{prefix}{name}": median(run[name] for run in of_one)
        for prefix, of_one in runs.items()
        for name in of_one[0]
    }
    for prefix in makers:
        found.setdefault(f"{prefix}bytes_per_block", found[f"{prefix}rss_bytes_per_block"])
    workload = build(sizes.distinct_blocks, sizes.endpoints)
    found["workload_distinct_blocks"] = workload.keys.size
    found["workload_held_blocks"] = workload.held_blocks
    found["workload_shared_ratio"] = workload.shared_ratio
    return found


def run(holder: Holder, distinct_blocks: int, endpoints: int) -> Run:
    """One fill of an empty holder, in its own process."""
    workload = build(distinct_blocks, endpoints)
    before = resident_bytes()
    spent = fill(holder, workload.chunks(CHUNK_DELTAS))
    grown = resident_bytes() - before
    found = {
        "ingest_blocks_per_s": workload.held_blocks / spent.wall_s,
        "ingest_blocks_per_cpu_s": workload.held_blocks / spent.cpu_s,
        "rss_bytes_per_block": grown / workload.keys.size,
    }
    if isinstance(holder, TableHolder):
        stats = holder.table.stats
        assert stats.distinct_keys == workload.keys.size
        found["bytes_per_block"] = stats.table_bytes / stats.distinct_keys
    return found
