"""Real NATS and etcd for a figure, on the core of this process; nothing is left behind."""

import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from farsight.local.infra import etcd_command, nats_command
from farsight.local.ports import Ports
from farsight.local.process import Command
from farsight.local.reaper import Reaper

START_LIMIT_S = 20.0


@contextmanager
def nats() -> Iterator[str]:
    """URL of an empty nats-server with JetStream."""
    with Ports() as ports, tempfile.TemporaryDirectory() as folder:
        port = ports.take()
        with serving(nats_command(Path(folder), port, ports.take()), port):
            yield f"nats://127.0.0.1:{port}"


@contextmanager
def etcd() -> Iterator[str]:
    """host:port of an empty etcd."""
    with Ports() as ports, tempfile.TemporaryDirectory() as folder:
        port = ports.take()
        with serving(etcd_command(Path(folder), port, ports.take()), port):
            yield f"127.0.0.1:{port}"


@contextmanager
def serving(
    command: Command, port: int, before: Callable[[], None] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that listens on a port, until the block ends.

    :param before: called in the process before its program.
    """
    reaper = Reaper()  # ends it when this process is killed
    server = subprocess.Popen(
        command.argv,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,  # not a session, which the kernel would give a share of its own
        preexec_fn=before,
    )
    reaper.add(server.pid)
    try:
        _wait_for(port, server, command.name)
        yield server
    finally:
        server.terminate()
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        reaper.remove(server.pid)
        reaper.close()


def _wait_for(port: int, server: subprocess.Popen[bytes], name: str) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None:
            raise RuntimeError(f"{name} ended with {server.returncode}")
        time.sleep(0.02)
    raise RuntimeError(f"{name} does not listen on port {port}")
