"""Real etcd and NATS on free ports for the tests that need them."""

import asyncio
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from farsight import keys, table
from farsight.bus import Bus
from farsight.etcd import Etcd

settings.register_profile("farsight", deadline=None)
settings.load_profile("farsight")


def pytest_sessionstart() -> None:
    """Compile the kernels while no test's time runs."""
    keys.warm()
    table.warm()


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


def binary(name: str) -> str:
    """A program beside this interpreter or on the PATH; a missing one fails the test."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is missing: run `make setup`")
    return found


def stop(server: subprocess.Popen[bytes]) -> None:
    """Stop a server that a fixture started."""
    server.terminate()
    try:
        server.wait(5)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


@pytest.fixture(scope="session")
def etcd_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a real etcd."""
    client, peer = free_port(), free_port()
    server = subprocess.Popen(
        [
            binary("etcd"),
            f"--data-dir={tmp_path_factory.mktemp('etcd')}",
            f"--listen-client-urls=http://127.0.0.1:{client}",
            f"--advertise-client-urls=http://127.0.0.1:{client}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
            "--log-level=error",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(client, server)
        yield f"127.0.0.1:{client}"
    finally:
        stop(server)


@pytest.fixture(scope="session")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real nats-server with JetStream."""
    port = free_port()
    server = subprocess.Popen(
        [
            binary("nats-server"),
            "-a",
            "127.0.0.1",
            "-p",
            str(port),
            "-js",
            "-sd",
            str(tmp_path_factory.mktemp("nats")),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
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
