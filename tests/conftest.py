"""Real etcd and NATS on free ports for the tests that need them."""

import asyncio
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from farsight import keys
from farsight.bus import Bus
from farsight.etcd import Etcd
from farsight.index import state
from farsight.local.infra import etcd_command, nats_command
from farsight.local.process import Command
from services.router import speculative

settings.register_profile("farsight", deadline=None)
settings.load_profile("farsight")


def pytest_sessionstart() -> None:
    """Compile the kernels while no test's time runs."""
    keys.warm()
    state.warm()
    speculative.warm()


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, server: subprocess.Popen[bytes], limit_s: float = 15) -> None:
    """Return when something listens on the port."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None:
            raise RuntimeError(f"server exited with {server.returncode}")
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


def stop(server: subprocess.Popen[bytes]) -> None:
    """Stop a server that a fixture started."""
    server.terminate()
    try:
        server.wait(5)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def launch(command: Command) -> subprocess.Popen[bytes]:
    """Start a server of a local fleet, without its output; a missing program fails the test."""
    return subprocess.Popen(command.argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def launch_nats(port: int, store_dir: Path) -> subprocess.Popen[bytes]:
    """Start a nats-server with JetStream on a port."""
    return launch(nats_command(store_dir, port, free_port()))


@pytest.fixture(scope="session")
def etcd_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a real etcd."""
    client = free_port()
    server = launch(etcd_command(tmp_path_factory.mktemp("etcd"), client, free_port()))
    try:
        wait_for_port(client, server)
        yield f"127.0.0.1:{client}"
    finally:
        stop(server)


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real nats-server with JetStream."""
    port = free_port()
    server = launch_nats(port, tmp_path_factory.mktemp("nats"))
    try:
        wait_for_port(port, server)
        yield f"nats://127.0.0.1:{port}"
    finally:
        stop(server)


@pytest.fixture
async def etcd(etcd_url: str) -> AsyncIterator[Etcd]:
    """A connected etcd client; every key of Farsight is removed before the test."""
    client = Etcd(etcd_url)
    stale, _ = await client.list_prefix("/farsight/")
    for key in stale:
        await client.delete("/farsight/" + key)
    yield client
    await client.close()


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    """A connected bus; buckets and streams are removed before the test."""
    connected = Bus(nats_url)
    await asyncio.wait_for(connected.run(), 10)
    await connected.purge()
    yield connected
    await connected.close()
