"""The pods of one process and what they share: the driver, the tokenizer, the ZMQ context."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random

import zmq.asyncio
from aiohttp import web

from farsight.errors import InvalidField
from sim.emulator.app import application
from sim.emulator.driver import Driver
from sim.emulator.jobs import Jobs
from sim.emulator.pod import Pod
from sim.emulator.publisher import EventPublisher
from sim.emulator.settings import EmulatorSettings
from sim.emulator.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Emulator:
    """Pods that serve."""

    pods: tuple[Pod, ...]
    driver: Driver


@asynccontextmanager
async def emulating(settings: EmulatorSettings, tokenizer: Tokenizer) -> AsyncIterator[Emulator]:
    """Pods from their start to their end, when running requests have time to finish.

    :raises InvalidField: a port cannot be bound.
    """
    async with AsyncExitStack() as resources:
        context = zmq.asyncio.Context()
        resources.callback(context.term)
        pods = tuple(_pod(settings, i, context, resources) for i in range(settings.pods))
        driver = Driver(settings.spec, pods, settings.speed)
        jobs, start_unix_s = Jobs(settings, tokenizer), time.time()
        runners: list[web.AppRunner] = []
        resources.push_async_callback(_drain, runners)
        for pod in pods:
            random = Random(f"{settings.seed} {pod.number}")
            app = application(pod, driver, jobs, random, start_unix_s)
            runners.append(_runner(app, settings.drain_s))
            pod.url = await _listen(runners[-1], settings, pod.number)
        async with asyncio.TaskGroup() as tasks:
            owned = [tasks.create_task(driver.run())]
            owned += [tasks.create_task(pod.publisher.serve_replays()) for pod in pods]
            try:
                yield Emulator(pods, driver)
            finally:
                await _drain(runners)
                for task in owned:
                    task.cancel()


def _pod(
    settings: EmulatorSettings, number: int, context: zmq.asyncio.Context, resources: AsyncExitStack
) -> Pod:
    publisher = EventPublisher(
        context,
        settings.host,
        _port(settings.events_base_port, number),
        _port(settings.replay_base_port, number),
        f"kv@pod-{number}@{settings.model}",
    )
    resources.callback(publisher.close)
    return Pod(number, publisher)


def _port(first: int, number: int) -> int:
    """Port of a pod; 0 for a free one."""
    return first + number if first else 0


def _runner(app: web.Application, drain_s: float) -> web.AppRunner:
    return web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=drain_s)


async def _listen(runner: web.AppRunner, settings: EmulatorSettings, number: int) -> str:
    """Start to serve; the base URL.

    :raises InvalidField: the port cannot be bound.
    """
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, _port(settings.base_port, number)).start()
    except OSError as error:
        raise InvalidField("base_port", f"ports that can be bound: {error}") from error
    return f"http://{settings.url_host}:{runner.addresses[0][1]}"


async def _drain(runners: Sequence[web.AppRunner]) -> None:
    """Take no more requests, and wait for those that run."""
    await asyncio.gather(*(runner.cleanup() for runner in runners))
