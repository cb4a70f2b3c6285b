"""`farsight emulate`: its flags, and the process from start to SIGTERM."""

import asyncio
import dataclasses
import signal
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from farsight import keys
from farsight.local.programs import CACHE_DIR
from sim.emulator import answers, driver
from sim.emulator.emulator import Emulator, emulating
from sim.emulator.settings import EmulatorSettings
from sim.emulator.tokenizer import Tokenizer, load_tokenizer
from sim.engine.spec import EngineSpec
from sim.hardware import HARDWARE, hardware

Names = Annotated[list[str] | None, typer.Option("--lora", help="An adapter's name; repeatable.")]


def emulate(
    pods: Annotated[int, typer.Option(help="Pods of this process.")] = 1,
    model: Annotated[str, typer.Option(help="Name of the served model.")] = "emulated",
    hardware_name: Annotated[
        str, typer.Option("--hardware", help=f"What runs it: {', '.join(HARDWARE)}.")
    ] = "h100-1",
    tokenizer: Annotated[
        str, typer.Option(help="Hugging Face tokenizer; without it a small one is made.")
    ] = "",
    work_dir: Annotated[Path, typer.Option(help="Where the small one is kept.")] = CACHE_DIR
    / "emulator",
    lora: Names = None,
    block_tokens: Annotated[int, typer.Option(help="Tokens of a KV block; 0: preset.")] = 0,
    kv_tokens: Annotated[int, typer.Option(help="Tokens of the KV cache; 0: preset.")] = 0,
    max_model_tokens: Annotated[
        int, typer.Option(help="Longest sequence; 0: the KV cache, at most 131,072.")
    ] = 0,
    max_sequences: Annotated[int, typer.Option(help="Running requests; 0: preset.")] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    base_port: Annotated[int, typer.Option(help="HTTP port of pod 0; 0: free ones.")] = 0,
    events_base_port: Annotated[int, typer.Option(help="KV events of pod 0; 0: free.")] = 0,
    replay_base_port: Annotated[int, typer.Option(help="Replay of pod 0; 0: free.")] = 0,
    speed: Annotated[float, typer.Option(help="Time runs so many times faster.")] = 1.0,
    output_tokens: Annotated[
        int, typer.Option(help="Mean length of answers without ignore_eos.")
    ] = 256,
    seed: Annotated[int, typer.Option(help="Decides what is answered.")] = 0,
    drain_s: Annotated[float, typer.Option(help="Longest wait at the end, seconds.")] = 5.0,
) -> None:
    """Serve modelled vLLM pods in real time, without a GPU or a model."""
    settings = EmulatorSettings(
        spec=_spec(hardware_name, block_tokens, kv_tokens, max_sequences),
        model=model,
        loras=tuple(lora or ()),
        max_model_tokens=max_model_tokens,
        pods=pods,
        host=host,
        base_port=base_port,
        events_base_port=events_base_port,
        replay_base_port=replay_base_port,
        speed=speed,
        mean_output_tokens=output_tokens,
        seed=seed,
        drain_s=drain_s,
    )
    loaded = load_tokenizer(tokenizer, work_dir)
    _warm()
    uvloop.run(_serve(settings, loaded))


def _spec(name: str, block_tokens: int, kv_tokens: int, max_sequences: int) -> EngineSpec:
    """The preset with what was set by hand."""
    spec = hardware(name)
    return dataclasses.replace(
        spec,
        block_tokens=block_tokens or spec.block_tokens,
        kv_tokens=kv_tokens or spec.kv_tokens,
        max_sequences=max_sequences or spec.max_sequences,
        mounts_storage=False,
    )


def _warm() -> None:
    """Compile or load the kernels, so that no request waits for that."""
    keys.warm()
    answers.warm()
    driver.warm()


async def _serve(settings: EmulatorSettings, tokenizer: Tokenizer) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with emulating(settings, tokenizer) as emulator:
        _tell(emulator, settings)
        await stopping.wait()


def _tell(emulator: Emulator, settings: EmulatorSettings) -> None:
    for pod in emulator.pods:
        events, replay = pod.publisher.events_port, pod.publisher.replay_port
        typer.echo(
            f"pod {pod.number}: {pod.url} serves {settings.model}, KV events on "
            f"tcp://{settings.host}:{events}, replay on tcp://{settings.host}:{replay}"
        )
