"""Supervisors leave nothing behind."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from farsight.local.process import Process
from farsight.local.supervisor import Supervisor
from tests.farsight.local.children import gone, sleeper
from tests.waiting import eventually

OWNER = """
import asyncio, sys
from pathlib import Path
from farsight.local.process import Command
from farsight.local.supervisor import Supervisor

async def main():
    async with Supervisor(Path(sys.argv[1])) as supervisor:
        sleep = (sys.executable, "-c", "import time; time.sleep(600)")
        process = supervisor.add(Command("child", sleep))
        await process.start()
        print(process.pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_an_exception_stops_everything(tmp_path: Path) -> None:
    """The block's exception passes through after the children have ended."""
    processes: list[Process] = []

    async def fail() -> None:
        async with Supervisor(tmp_path) as supervisor:
            processes.extend([await sleeper(supervisor, "a"), await sleeper(supervisor, "b")])
            raise ValueError("boom")

    with pytest.raises(ValueError, match="boom"):
        await fail()

    assert [process.returncode for process in processes] == [-signal.SIGTERM, -signal.SIGTERM]


async def test_a_cancellation_stops_everything(tmp_path: Path) -> None:
    """A cancelled owner ends only after its children."""
    processes: list[Process] = []

    async def own() -> None:
        async with Supervisor(tmp_path) as supervisor:
            processes.append(await sleeper(supervisor, "a"))
            await asyncio.sleep(600)

    task = asyncio.create_task(own())
    await eventually(lambda: bool(processes))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not processes[0].running


async def note_end(process: Process, ends: list[str]) -> None:
    """Append the name when it ends."""
    await process.wait()
    ends.append(process.name)


async def test_later_stages_end_first(tmp_path: Path) -> None:
    """A child of the second stage is gone while the first stage still runs."""
    async with Supervisor(tmp_path) as supervisor:
        supervisor.stage()
        first = await sleeper(supervisor, "first")
        supervisor.stage()
        second = await sleeper(supervisor, "second")
        ends: list[str] = []
        watchers = [asyncio.create_task(note_end(process, ends)) for process in (first, second)]

    await asyncio.gather(*watchers)
    assert ends == ["second", "first"]


async def test_a_killed_owner_leaves_nothing_behind(tmp_path: Path) -> None:
    """SIGKILL of the owner ends its children."""
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWNER, str(tmp_path)), stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    child = int(await owner.stdout.readline())
    assert not gone(child)

    owner.kill()
    await owner.communicate()

    await eventually(lambda: gone(child))
