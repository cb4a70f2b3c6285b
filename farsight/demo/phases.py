"""Drives the workload: phases with a profile each, quiet probes, and timed decisions."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from random import Random

import aiohttp
import numpy as np

from farsight.client import RouterClient
from farsight.demo.senders import Sender, Sent
from farsight.demo.workload import Session, WorkloadSpec, sessions
from farsight.pb.router_pb2 import Finished, ReportEvent, RouteRequest

QUIET_S = 0.8
ROUTE_CALLS = 200
REPORT_S = 0.005
ROUTE_PROMPT_TOKENS = 2000
OnSent = Callable[[Sent], None]


async def clear_caches(http: aiohttp.ClientSession, engine_urls: Sequence[str], model: str) -> None:
    """Empty every pod's prefix cache, so that each phase begins alike.

    An idle engine announces the reset with its next scheduler step: a one-token request makes one.
    """
    for url in engine_urls:
        async with http.post(f"{url}/reset_prefix_cache") as response:
            response.raise_for_status()
        nudge = {"model": model, "prompt": [5], "max_tokens": 1}
        async with http.post(f"{url}/v1/completions", json=nudge) as response:
            response.raise_for_status()
    await asyncio.sleep(QUIET_S)


async def run_phase(
    spec: WorkloadSpec,
    profile: str,
    senders: Sequence[Sender],
    concurrency: int,
    on_sent: OnSent,
) -> list[Sent]:
    """Run every session's turns with a closed loop of clients; senders take turns by session."""
    waiting = deque(enumerate(sessions(spec)))
    sent: list[Sent] = []

    async def client() -> None:
        while waiting:
            number, session = waiting.popleft()
            result = await _turn(session, senders[number % len(senders)], profile)
            sent.append(result)
            on_sent(result)
            if not result.failed and not session.done:
                waiting.append((number, session))

    async with asyncio.TaskGroup() as clients:
        for _ in range(concurrency):
            clients.create_task(client())
    return sent


async def run_probes(
    spec: WorkloadSpec, profiles: Sequence[str], sender: Sender, on_sent: OnSent
) -> list[Sent]:
    """One request at a time, each after its pod has settled; profiles alternate at random, so that
    prompts meet pods that evicted them."""
    random = Random(spec.seed)
    waiting = sessions(spec)
    sent: list[Sent] = []
    while waiting:
        session = waiting[random.randrange(len(waiting))]
        result = await _turn(session, sender, random.choice(profiles))
        sent.append(result)
        on_sent(result)
        if result.failed or session.done:
            waiting.remove(session)
        await asyncio.sleep(QUIET_S)
    return sent


async def _turn(session: Session, sender: Sender, profile: str) -> Sent:
    result = await sender.send(session.name, session.ask(), profile)
    session.answer(result.text)
    return result


async def time_decisions(routers: RouterClient, model: str) -> tuple[float, float]:
    """p50 and p99 of Route calls with a 2,000-token prompt, milliseconds, one at a time; each is
    released, and its report is through before the next call."""
    await asyncio.sleep(QUIET_S)
    random = np.random.default_rng(1)
    took_ms = []
    for _ in range(ROUTE_CALLS):
        tokens = random.integers(3, 4000, ROUTE_PROMPT_TOKENS, dtype=np.uint32)
        request = RouteRequest(model=model, token_ids=tokens.astype("<u4").tobytes())
        started = time.perf_counter()
        decision = await routers.route(request, 10)
        took_ms.append((time.perf_counter() - started) * 1000)
        reply = decision.reply
        cancelled = Finished(status=Finished.STATUS_CANCELLED)
        routers.report(
            decision,
            ReportEvent(
                decision_id=reply.decision_id,
                endpoint_id=reply.endpoint.endpoint_id,
                finished=cancelled,
            ),
        )
        await asyncio.sleep(REPORT_S)
    p50, p99 = np.percentile(took_ms, [50, 99]).tolist()
    return p50, p99
