"""The real sidecar beside emulated pods, with real etcd and NATS: it takes them for vLLM."""

import asyncio

import aiohttp
import numpy as np
import pytest

from farsight.bus import Bus
from farsight.etcd import Etcd
from farsight.pb.types_pb2 import Confidence
from sim.emulator.emulator import Emulator
from sim.emulator.tokenizer import Tokenizer
from tests.conftest import free_port
from tests.fakes.kv_reader import KvReader, keys_in
from tests.services.sidecar.running import ENDPOINT, Servers, registered, sidecar, withdrawn
from tests.sim.emulator.process import flags, process, urls
from tests.sim.emulator.running import MODEL, Client, prompt_of, serving, slow
from tests.waiting import eventually


@pytest.fixture
def servers(etcd_url: str, nats_url: str) -> Servers:
    """The real servers."""
    return Servers(etcd_url, nats_url)


@pytest.fixture
async def reader(bus: Bus) -> KvReader:
    """A reader that has subscribed before anything is sent."""
    reader = KvReader(bus, ENDPOINT)
    await bus.flush()
    return reader


def held(emulator: Emulator, pod: int = 0) -> set[bytes]:
    """Keys in an engine's cache."""
    return keys_in(emulator.driver.engines.held_keys(pod).tobytes())


async def send(client: Client, requests: int, seed: int) -> None:
    """Prompts with shared beginnings, more than the cache holds, several at a time."""
    rng = np.random.default_rng(seed)

    async def one(shared: int, own: int, prompt: int, answer: int) -> None:
        tokens = prompt_of(shared, 70) + prompt_of(own, prompt)
        await client.complete(tokens, answer)

    for _ in range(requests // 6):
        sizes = rng.integers((0, 10, 1, 1), (4, 400, 200, 60), (6, 4))
        await asyncio.gather(*(one(*row) for row in sizes.tolist()))


async def test_the_record_says_what_the_pod_is(
    servers: Servers, etcd: Etcd, reader: KvReader, tokenizer: Tokenizer
) -> None:
    """Model, adapters, tokenizer, sizes and version, found out from the pod alone."""
    async with (
        serving(tokenizer, loras=("ad",), max_model_tokens=600) as (_, client),
        sidecar(servers.settings(client.url)),
    ):
        found = await registered(etcd)
        await eventually(lambda: reader.is_exact)

    assert (found.url, found.model, list(found.lora_names)) == (client.url, MODEL, ["ad"])
    assert (found.tokenizer, found.max_model_len_tokens) == (tokenizer.source, 600)
    assert (found.block_size_tokens, found.key_block_tokens, found.kv_blocks) == (32, 16, 21)
    assert found.engine_version == "0.32.0"


async def test_the_mirror_is_the_cache(
    servers: Servers, reader: KvReader, tokenizer: Tokenizer
) -> None:
    """Of traffic before its start and after it, with evictions, in deltas and in a snapshot."""
    async with serving(tokenizer) as (emulator, client):
        await send(client, 24, seed=1)
        async with sidecar(servers.settings(client.url)):
            await eventually(lambda: reader.is_exact and reader.device == held(emulator))
            replayed = reader.deltas
            await send(client, 60, seed=2)
            await eventually(lambda: reader.is_exact and reader.device == held(emulator))
            _, snapshot = await reader.ask_snapshot()

        assert keys_in(snapshot.tiers[0].keys) == held(emulator)
        assert reader.deltas > replayed + 10
        assert reader.missed == 0
        assert emulator.driver.gauges(0).kv_usage_ratio == 0.0
        assert len(held(emulator)) > 20


async def test_adapters_and_salts_are_mirrored(
    servers: Servers, reader: KvReader, tokenizer: Tokenizer
) -> None:
    """Under keys of their own."""
    prompt = prompt_of(1, 64)
    async with (
        serving(tokenizer, loras=("ad",)) as (emulator, client),
        sidecar(servers.settings(client.url)),
    ):
        for fields in ({}, {"model": "ad"}, {"cache_salt": "s"}):
            await client.complete(prompt, 1, **fields)
        await eventually(lambda: reader.is_exact and len(reader.device) == 12)

        assert reader.device == held(emulator)


async def test_an_emptied_cache_empties_the_mirror(
    servers: Servers, reader: KvReader, tokenizer: Tokenizer
) -> None:
    """With the pod's next step, within the epoch."""
    async with (
        serving(tokenizer) as (emulator, client),
        sidecar(servers.settings(client.url)),
    ):
        await client.complete(prompt_of(1, 64), 1)
        await eventually(lambda: reader.is_exact and len(reader.device) == 4)
        epoch = reader.epoch
        await client.post("/reset_prefix_cache", {})
        await client.complete([5], 1)
        await eventually(lambda: reader.is_exact and not reader.device)

        assert held(emulator) == set()
        assert reader.epoch == epoch


async def test_load_flows(servers: Servers, reader: KvReader, tokenizer: Tokenizer) -> None:
    """Running and waiting requests and the used share of the cache."""
    async with (
        serving(tokenizer, slow(0.1)) as (_, client),
        sidecar(servers.settings(client.url)),
    ):
        # Four blocks from the first to the last token, which is 1.4 s later.
        sending = [asyncio.create_task(client.complete(prompt_of(i, 50), 14)) for i in range(10)]
        await eventually(
            lambda: (reader.load.running_requests, reader.load.waiting_requests) == (8, 2)
        )
        assert reader.load.kv_usage_ratio == pytest.approx(0.8)
        await asyncio.gather(*sending)
        await eventually(lambda: reader.load.running_requests == 0)

    assert reader.load.kv_confidence == Confidence.CONFIDENCE_EXACT


@pytest.mark.timeout(90)
async def test_a_restarted_process_is_a_new_epoch(
    servers: Servers, etcd: Etcd, reader: KvReader, tokenizer: Tokenizer
) -> None:
    """kill -9, and another one at the same ports: what the old one held is void."""
    arguments = flags(
        hardware="cpu-demo", model=MODEL, tokenizer=tokenizer.source, base_port=free_port(),
        events_base_port=free_port(), replay_base_port=free_port(),
    )  # fmt: skip
    async with aiohttp.ClientSession() as http, process(*arguments) as first:
        client = Client(http, (await urls(first))[0])
        async with sidecar(servers.settings(client.url)):
            before = await registered(etcd)
            await client.complete(prompt_of(1, 64), 1)
            await eventually(lambda: reader.is_exact and len(reader.device) == 4)
            first.kill()
            await withdrawn(etcd)
            async with process(*arguments) as second:
                await urls(second)
                after = await registered(etcd, after_epoch=before.epoch)
                await eventually(lambda: reader.epoch == after.epoch and reader.is_exact)
                assert reader.device == set()
                await client.complete(prompt_of(2, 32), 1)
                await eventually(lambda: reader.is_exact and len(reader.device) == 2)
