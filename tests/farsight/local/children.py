"""Children that the tests of processes start."""

import sys

import psutil

from farsight.local.process import Command, Process
from farsight.local.supervisor import Supervisor

SLEEP = "import time; print('up', flush=True); time.sleep(600)"


def python(code: str, name: str = "child", **env: str) -> Command:
    """A Python child."""
    return Command(name, (sys.executable, "-c", code), env)


async def sleeper(supervisor: Supervisor, name: str) -> Process:
    """A running child that does nothing."""
    process = supervisor.add(python(SLEEP, name))
    await process.start()
    return process


def gone(pid: int) -> bool:
    """The process has ended (or waits for somebody to collect it)."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
