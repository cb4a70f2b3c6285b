"""Measures one pod in passes: a calibration round, the workload, another round.

So both see the same machine, whose speed changes with what its neighbours do. The workload is the
same in every pass.
"""

import asyncio
import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from farsight.local.ready import Progress, silent
from sim.validation.client import PodClient
from sim.validation.machine import MachineWatch
from sim.validation.pod import Pod, running_pod
from sim.validation.probes import Probe, calibration_round, random_tokens
from sim.validation.records import Observation, Pass, PodSizes, Recording
from sim.validation.workload import Turn, conversations

PASSES = 4
_CALIBRATION_SEED = 20
_WORKLOAD_SEED = 3
_WARM_UP_REQUESTS = 20
_GAP_S = 0.03

Say = Callable[[str], None]


async def record(
    sizes: PodSizes, run_dir: Path, say: Say, progress: Progress = silent
) -> Recording:
    """Start a pod, measure, stop it.

    :raises LocalFleetError: the pod does not start.
    :raises RequestFailed: a request was not answered.
    """
    rng = np.random.default_rng(_CALIBRATION_SEED)
    turns = conversations(np.random.default_rng(_WORKLOAD_SEED))
    async with (
        running_pod(sizes, run_dir, progress) as pod,
        PodClient(pod.spec.url, pod.spec.served_model) as client,
    ):
        await _warm_up(client, rng)
        passes = []
        for number in range(1, PASSES + 1):
            say(f"pass {number} of {PASSES}")
            passes.append(await _one_pass(pod, client, rng, turns))
        return Recording(sizes, passes)


async def _one_pass(
    pod: Pod, client: PodClient, rng: np.random.Generator, turns: Sequence[Turn]
) -> Pass:
    assert pod.process.pid is not None
    gc.collect()
    gc.freeze()
    watch = MachineWatch(pod.process.pid)
    before = await _calibrate(client, rng)
    await client.forget()
    workload = await converse(client, turns)
    after = await _calibrate(client, rng)
    return Pass([before, after], workload, watch.stop())


async def _calibrate(client: PodClient, rng: np.random.Generator) -> list[Observation]:
    await client.forget()
    return [o for probe in calibration_round(rng) for o in await _probe(client, probe)]


async def _warm_up(client: PodClient, rng: np.random.Generator) -> None:
    """Connections, allocators and code paths; not measured."""
    for _ in range(2):
        await asyncio.gather(
            *(client.send("warm", random_tokens(rng, 300), 16) for _ in range(_WARM_UP_REQUESTS))
        )


async def _probe(client: PodClient, probe: Probe) -> list[Observation]:
    """Run one probe; the pod is idle before and after."""
    requests = list(zip(probe.prompts, probe.output_tokens, strict=True))
    if probe.offsets_s is None:
        found = [await client.send(probe.label, prompt, count) for prompt, count in requests]
    else:
        started_s = time.perf_counter()
        found = await asyncio.gather(
            *(
                _send_at(client, probe.label, started_s + offset_s, prompt, count)
                for (prompt, count), offset_s in zip(requests, probe.offsets_s, strict=True)
            )
        )
    await asyncio.sleep(_GAP_S)
    return sorted(found, key=lambda o: o.sent_s)


async def _send_at(
    client: PodClient, label: str, at_s: float, prompt: Sequence[int], output_tokens: int
) -> Observation:
    await asyncio.sleep(at_s - time.perf_counter())
    return await client.send(label, prompt, output_tokens)


async def converse(client: PodClient, turns: Sequence[Turn]) -> list[Observation]:
    """Send every turn at its time, but never before the answer that it builds on."""
    started_s = time.perf_counter()
    tasks: list[asyncio.Task[Observation]] = []

    async def turn(number: int) -> Observation:
        planned = turns[number]
        await asyncio.sleep(started_s + planned.at_s - time.perf_counter())
        prompt = planned.tokens
        if planned.follows is not None:
            before = await tasks[planned.follows]
            prompt = before.prompt + before.output + prompt
        return await client.send(f"turn {number}", prompt, planned.output_tokens)

    try:
        async with asyncio.TaskGroup() as group:
            tasks.extend(group.create_task(turn(i)) for i in range(len(turns)))
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return sorted((task.result() for task in tasks), key=lambda o: o.sent_s)
