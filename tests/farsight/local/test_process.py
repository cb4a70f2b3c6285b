"""Processes: start, end, kill and restart of real children."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farsight.local.errors import ProcessEnded
from farsight.local.process import Command
from farsight.local.supervisor import Supervisor
from tests.farsight.local.children import SLEEP, gone, python
from tests.waiting import eventually

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP
WITH_CHILD = (
    "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time;"
    "time.sleep(600)'], process_group=None); print(child.pid, flush=True); child.wait()"
)


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    """A supervisor that cleans up after the test."""
    async with Supervisor(tmp_path, grace_s=5) as owner:
        yield owner


async def test_output_and_exit_status_are_kept(supervisor: Supervisor) -> None:
    """Both streams are in the log, and the environment is laid over ours."""
    code = "import os, sys; print(os.environ['WORD']); sys.stderr.write('err\\n'); sys.exit(3)"
    process = supervisor.add(python(code, WORD="out"))
    assert process.returncode is None

    await process.start()

    assert await process.wait() == 3
    assert not process.running
    assert sorted(process.tail().splitlines()) == ["err", "out"]
    with pytest.raises(ProcessEnded, match="child ended with 3") as caught:
        process.check()
    assert caught.value.returncode == 3


async def test_terminate_is_a_signal_first(supervisor: Supervisor) -> None:
    """A child that heeds SIGTERM ends by it."""
    process = supervisor.add(python(SLEEP))
    await process.start()

    await process.terminate(grace_s=5)

    assert process.returncode == -signal.SIGTERM


async def test_terminate_kills_after_the_grace(supervisor: Supervisor) -> None:
    """A child that ignores SIGTERM is killed."""
    process = supervisor.add(python(STUBBORN))
    await process.start()
    await eventually(lambda: process.tail() == "up")

    await process.terminate(grace_s=0.1)

    assert process.returncode == -signal.SIGKILL


async def test_kill_takes_the_children_too(supervisor: Supervisor) -> None:
    """SIGKILL goes to the whole group."""
    process = supervisor.add(python(WITH_CHILD))
    await process.start()
    await eventually(lambda: process.tail().isdigit())
    child = int(process.tail())

    await process.kill()

    assert process.returncode == -signal.SIGKILL
    await eventually(lambda: gone(child))


async def test_children_do_not_outlive_a_leader_that_ended(supervisor: Supervisor) -> None:
    """When only the leader is killed, its children are collected."""
    process = supervisor.add(python(WITH_CHILD))
    await process.start()
    await eventually(lambda: process.tail().isdigit())
    child = int(process.tail())

    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)

    await eventually(lambda: gone(child))


async def test_restart_runs_the_same_command_again(supervisor: Supervisor) -> None:
    """A new process, the same log."""
    process = supervisor.add(python(SLEEP))
    await process.start()
    await eventually(lambda: process.tail() == "up")
    first = process.pid

    await process.restart()
    await eventually(lambda: process.tail() == "up\nup")

    assert process.running
    assert process.pid != first
    assert first is not None
    assert gone(first)


async def test_a_program_that_does_not_exist_is_an_error(supervisor: Supervisor) -> None:
    """start raises, and the supervisor still ends cleanly."""
    process = supervisor.add(Command("ghost", ("/nowhere/ghost",)))

    with pytest.raises(FileNotFoundError):
        await process.start()

    assert not process.running
