"""Real etcd and NATS with JetStream; both keep their data and ports over a kill and a restart."""

from pathlib import Path

from farsight.local.process import Command
from farsight.local.programs import program


def etcd_command(data_dir: Path, client_port: int, peer_port: int) -> Command:
    """A single etcd on loopback (3.4 or later).

    :raises MissingProgram: etcd is not installed.
    """
    client, peer = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
    return Command(
        name="etcd",
        argv=(
            program("etcd"),
            f"--data-dir={data_dir}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--log-level=warn",
        ),
    )


def nats_command(store_dir: Path, port: int, monitor_port: int) -> Command:
    """A single nats-server on loopback with JetStream.

    :raises MissingProgram: nats-server is not installed.
    """
    return Command(
        name="nats",
        argv=(
            program("nats-server"),
            "--addr=127.0.0.1",
            f"--port={port}",
            f"--http_port={monitor_port}",
            "--jetstream",
            f"--store_dir={store_dir}",
        ),
    )


def etcd_health_url(client_port: int) -> str:
    """Answers 200 when etcd has a leader."""
    return f"http://127.0.0.1:{client_port}/health"


def nats_health_url(monitor_port: int) -> str:
    """Answers 200 when the server and JetStream are up."""
    return f"http://127.0.0.1:{monitor_port}/healthz"
