"""`clear` of one endpoint among 5 M blocks, and how long the index stands still for one."""

import time
from functools import partial
from statistics import median

from bench.index import workload
from bench.index.filling import CHUNK_DELTAS, fill
from bench.index.own_holders import IndexHolder, TableHolder
from bench.index.processes import Cores, Worker
from bench.index.sizes import Sizes
from farsight.pb.events_pb2 import KvDelta

CLEARED = 16


def measure(sizes: Sizes, cores: Cores) -> dict[str, float]:
    """`clear_ms`: the table's; `clear_blocked_ms`: the index at the first delta of a new life."""
    cleared = min(CLEARED, sizes.endpoints // 2)
    with Worker(partial(TableHolder, sizes.endpoints), cores.measured) as worker:
        of_table = worker.do(clear_table, sizes, cleared)
    with Worker(partial(IndexHolder, sizes.endpoints), cores.measured) as worker:
        of_index = worker.do(clear_index, sizes, cleared)
    return {
        "clear_ms": median(wall_ms for wall_ms, _ in of_table),
        "clear_cpu_ms": median(cpu_ms for _, cpu_ms in of_table),
        "clear_blocked_ms": median(of_index),
    }


def clear_table(holder: TableHolder, sizes: Sizes, cleared: int) -> list[tuple[float, float]]:
    """Milliseconds of each clear, and of its processor time; the table is full again at each."""
    blocks = workload.build(sizes.distinct_blocks, sizes.endpoints)
    fill(holder, blocks.chunks(CHUNK_DELTAS))
    times_ms = []
    for slot in range(cleared):
        held, buckets = holder.table.contents_of(slot)
        started, cpu_started = time.perf_counter(), time.process_time()
        holder.table.clear(slot)
        spent_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_started
        times_ms.append((spent_s * 1000, cpu_s * 1000))
        assert not holder.table.keys_of(slot).size
        holder.table.add(slot, held, buckets)
    return times_ms


def clear_index(holder: IndexHolder, sizes: Sizes, cleared: int) -> list[float]:
    """Milliseconds of a delta that voids what an endpoint held."""
    blocks = workload.build(sizes.distinct_blocks, sizes.endpoints)
    fill(holder, blocks.chunks(CHUNK_DELTAS))
    times_ms = []
    for endpoint_id in holder.endpoint_ids[:cleared]:
        delta = KvDelta(endpoint_id=endpoint_id, epoch=2, seq=1)
        started = time.perf_counter()
        holder.index.apply(delta)
        times_ms.append((time.perf_counter() - started) * 1000)
    return times_ms
