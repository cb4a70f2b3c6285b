"""`farsight emulate` from its flags to its end."""

import asyncio
import signal
from typing import Any

import aiohttp
import pytest

from farsight.errors import InvalidField
from sim.emulator.command import emulate
from sim.emulator.tokenizer import Tokenizer
from tests.conftest import free_port
from tests.services.processes import ended, terminated
from tests.sim.emulator.process import flags, process, urls
from tests.sim.emulator.running import Client, prompt_of

pytestmark = pytest.mark.timeout(90)


async def busy(pod: Client) -> None:
    """Return when a request has arrived."""
    async with asyncio.timeout(10):
        while not (await pod.get("/load"))["server_load"]:  # noqa: ASYNC110 # another process
            await asyncio.sleep(0.01)


async def test_pods_serve_until_sigterm(tokenizer: Tokenizer) -> None:
    """At the ports after the first; what runs is finished, and the exit code is 0."""
    base = free_port()
    arguments = flags(
        pods=2, hardware="cpu-demo", model="m", tokenizer=tokenizer.source, base_port=base,
        lora=("a", "b"), kv_tokens=3200, max_sequences=4, seed=1,
    )  # fmt: skip
    async with process(*arguments) as started, aiohttp.ClientSession() as http:
        found = await urls(started, 2)
        assert found == [f"http://127.0.0.1:{base}", f"http://127.0.0.1:{base + 1}"]
        second = Client(http, found[1])
        models = await second.get("/v1/models")
        running = asyncio.create_task(second.complete(prompt_of(1, 50), 60))
        await busy(second)
        code, _, _ = await terminated(started)
        answer = await running

    assert code == 0
    assert answer["usage"]["completion_tokens"] == 60
    assert [model["id"] for model in models["data"]] == ["m", "a", "b"]
    assert models["data"][0]["max_model_len"] == 3200


async def test_sigint_aborts_what_takes_too_long(tokenizer: Tokenizer) -> None:
    """After the drain time, still with exit code 0."""
    arguments = flags(hardware="cpu-demo", tokenizer=tokenizer.source, speed=0.01, drain_s=0.2)
    async with process(*arguments) as started, aiohttp.ClientSession() as http:
        client = Client(http, (await urls(started))[0])
        running = asyncio.create_task(client.complete(prompt_of(1, 50), 1000))
        await busy(client)
        started.send_signal(signal.SIGINT)
        code, _, _ = await ended(started)
        with pytest.raises(aiohttp.ClientError):
            await running

    assert code == 0


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("hardware", {"hardware": "abacus"}),
        ("block_tokens", {"block_tokens": 5}),
        ("kv_tokens", {"kv_tokens": 5}),
        ("pods", {"pods": 0}),
        ("max_sequences", {"max_sequences": 100_000}),
        ("tokenizer", {"tokenizer": "/nowhere/at/all"}),
    ],
)
def test_bad_flags_are_named(field: str, arguments: dict[str, Any]) -> None:
    """Before anything is started."""
    with pytest.raises(InvalidField) as error:
        emulate(**arguments)

    assert error.value.field == field


async def test_a_taken_port_is_named(tokenizer: Tokenizer) -> None:
    """Exit code 2 here as well."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with process(*flags(tokenizer=tokenizer.source, base_port=port)) as started:
            code, _, err = await ended(started)

    assert code == 2
    assert "emulate: base_port: expected" in err
