"""Loads a holder, checks that it answers right, and times its matches; in the holder's process."""

import gc
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from bench.index import prompts, workload
from bench.index.contenders import Contenders
from bench.index.filling import CHUNK_DELTAS, fill
from bench.index.holder import Holder
from bench.index.processes import Worker
from bench.index.prompts import Prompts


@dataclass(frozen=True, slots=True)
class Given:
    """What a holder is loaded with: other blocks, and prompts that it will be asked for."""

    background_blocks: int
    endpoints: int
    prompts: int
    prompt_blocks: int

    def build(self) -> Prompts:
        """The prompts."""
        return prompts.build(self.prompts, self.prompt_blocks, self.endpoints)


def measure(
    makers: Contenders, given: Given, core: int, matches: int, rounds: int
) -> dict[str, tuple[float, float]]:
    """(p50, p99) in microseconds of each contender: medians over rounds, which alternate."""
    workers = {prefix: Worker(make, core) for prefix, make in makers.items()}
    times: dict[str, list[tuple[float, float]]] = {prefix: [] for prefix in makers}
    try:
        for worker in workers.values():
            worker.do(load, given)
        for number in range(rounds):
            for prefix, worker in workers.items():
                times[prefix].append(worker.do(timed, given, matches, number))
    finally:
        for worker in workers.values():
            worker.__exit__(None, None, None)
    return {
        prefix: (median(p50 for p50, _ in found), median(p99 for _, p99 in found))
        for prefix, found in times.items()
    }


def load(holder: Holder, given: Given) -> None:
    """Fill it, and compare one answer with what was put in."""
    background = workload.build(given.background_blocks, given.endpoints)
    fill(holder, background.chunks(CHUNK_DELTAS))
    asked = given.build()
    fill(holder, [list(asked.deltas())])
    found: Any = holder.match(holder.prompt(asked.keys[0]))
    for slot, depth in enumerate(asked.depths[0].tolist()):
        assert holder.held(found, slot) == depth, (slot, depth, holder.held(found, slot))
    gc.collect()
    gc.freeze()


def timed(holder: Holder, given: Given, matches: int, seed: int) -> tuple[float, float]:
    """p50 and p99 of one match, microseconds, over prompts in random order."""
    asked = [holder.prompt(keys) for keys in given.build().keys]
    order = np.random.default_rng(seed).integers(0, len(asked), matches).tolist()
    match, clock = holder.match, time.perf_counter_ns
    times_ns = []
    for which in order:
        prompt = asked[which]
        started = clock()
        match(prompt)
        times_ns.append(clock() - started)
    p50, p99 = np.percentile(times_ns, (50, 99)) / 1000
    return float(p50), float(p99)
