"""Fills a holder and times it."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from bench.index.holder import Holder
from bench.index.workload import Delta

CHUNK_DELTAS = 2_000


@dataclass(slots=True)
class Spent:
    """Seconds on the clock, and of this process's processor time; alike on a quiet machine."""

    wall_s: float = 0.0
    cpu_s: float = 0.0


def fill(holder: Holder, chunks: Iterable[Iterable[Delta]]) -> Spent:
    """What the holder needed; making what it is given does not count."""
    spent = Spent()
    for chunk in chunks:
        ready = [holder.prepared(delta) for delta in chunk]
        add = holder.add
        started, cpu_started = time.perf_counter(), time.process_time()
        for prepared in ready:
            add(*prepared)
        holder.settle()
        spent.wall_s += time.perf_counter() - started
        spent.cpu_s += time.process_time() - cpu_started
    return spent
