"""The emulator as a process, from its settings to SIGTERM."""

import asyncio
import dataclasses
import signal
from pathlib import Path

import typer
import uvloop

from sim.emulator import kernels
from sim.emulator.emulator import Emulator, emulating
from sim.emulator.settings import EmulatorSettings
from sim.emulator.tokenizer import Tokenizer, load_tokenizer
from sim.engine.spec import EngineSpec
from sim.hardware import hardware


def changed(preset: str, block_tokens: int, kv_tokens: int, max_sequences: int) -> EngineSpec:
    """A preset with what was set by hand; 0 leaves it. There is no shared storage.

    :raises InvalidField: there is no such preset, or a size is out of range.
    """
    spec = hardware(preset)
    return dataclasses.replace(
        spec,
        block_tokens=block_tokens or spec.block_tokens,
        kv_tokens=kv_tokens or spec.kv_tokens,
        max_sequences=max_sequences or spec.max_sequences,
        mounts_storage=False,
    )


def serve(settings: EmulatorSettings, tokenizer: str, work_dir: Path) -> None:
    """Serve until SIGTERM or SIGINT; each pod's URLs are printed when all are ready.

    :raises InvalidField: the tokenizer cannot be loaded, or a port cannot be bound.
    """
    loaded = load_tokenizer(tokenizer, work_dir)
    kernels.warm()
    uvloop.run(_serve(settings, loaded))


async def _serve(settings: EmulatorSettings, tokenizer: Tokenizer) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with emulating(settings, tokenizer) as emulator:
        _tell(emulator, settings)
        await stopping.wait()


def _tell(emulator: Emulator, settings: EmulatorSettings) -> None:
    host = settings.url_host
    for pod in emulator.pods:
        events, replay = pod.publisher.events_port, pod.publisher.replay_port
        typer.echo(
            f"pod {pod.number}: {pod.url} serves {settings.model}, KV events on "
            f"tcp://{host}:{events}, replay on tcp://{host}:{replay}"
        )
