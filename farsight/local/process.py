"""Child processes in groups of their own: start, kill, restart, and none left behind."""

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from farsight.local.errors import ProcessEnded
from farsight.local.reaper import Reaper, kill_group

_TAIL_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: `env` is laid over the environment of this process."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None


class Process:
    """One command, started again as often as wanted; its output is appended to one log file."""

    def __init__(self, command: Command, log_path: Path, reaper: Reaper) -> None:
        self.command = command
        self.log_path = log_path
        self.started_s = 0.0
        self._reaper = reaper
        self._child: asyncio.subprocess.Process | None = None
        self._end: asyncio.Task[int] | None = None

    @property
    def name(self) -> str:
        """The command's name."""
        return self.command.name

    @property
    def pid(self) -> int | None:
        """Process id, which is its group's too; None before the first start."""
        return self._child.pid if self._child else None

    @property
    def running(self) -> bool:
        """Started and not ended."""
        return self._end is not None and not self._end.done()

    @property
    def returncode(self) -> int | None:
        """Exit status, minus the signal when one ended it; None while there is none."""
        return self._end.result() if self._end is not None and self._end.done() else None

    async def start(self) -> None:
        """Start it in a session of its own, with an empty standard input.

        :raises OSError: the program cannot be started.
        """
        assert not self.running, f"{self.name} runs already"
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._child = await asyncio.create_subprocess_exec(
                *self.command.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.command.env},
                cwd=self.command.cwd,
                start_new_session=True,
            )
        self._reaper.add(self._child.pid)
        self.started_s = time.monotonic()
        self._end = asyncio.create_task(self._reap(self._child), name=f"reap {self.name}")

    async def _reap(self, child: asyncio.subprocess.Process) -> int:
        """Children of a leader that has ended go with it."""
        returncode = await child.wait()
        kill_group(child.pid)
        self._reaper.remove(child.pid)
        return returncode

    async def wait(self) -> int:
        """The exit status, once it has ended."""
        assert self._end is not None, f"{self.name} was never started"
        return await asyncio.shield(self._end)

    async def terminate(self, grace_s: float = 10) -> None:
        """SIGTERM, then SIGKILL to the group when it still runs after `grace_s`."""
        if not self.running:
            return
        assert self._child is not None
        with suppress(ProcessLookupError):
            self._child.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                await self.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """SIGKILL to the whole group; returns when it has ended."""
        if not self.running:
            return
        assert self._child is not None
        kill_group(self._child.pid)
        await self.wait()

    async def restart(self) -> None:
        """Start it again with the same command; a running one is killed first."""
        await self.kill()
        await self.start()

    def tail(self, lines: int = 20) -> str:
        """The last lines of the log."""
        if not self.log_path.is_file():
            return ""
        with self.log_path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = log.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def check(self) -> None:
        """Nothing while it runs.

        :raises ProcessEnded: it has ended.
        """
        if self.returncode is not None:
            raise ProcessEnded(self.name, self.returncode, self.tail())
