"""Owns processes for the length of a block: what it started, it stops, last stage first."""

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Self

from farsight.local.process import Command, Process
from farsight.local.reaper import Reaper


class Supervisor:
    """An async context manager over processes.

    The end of the block, an exception, a cancellation and even SIGKILL of this process stop
    everything that was started, and nothing else. Logs are `run_dir/NAME.log`.
    """

    def __init__(self, run_dir: Path, grace_s: float = 10) -> None:
        self.run_dir = run_dir
        self._grace_s = grace_s
        self._processes: dict[str, Process] = {}
        self._stages: list[list[Process]] = []
        self._reaper: Reaper | None = None

    async def __aenter__(self) -> Self:
        self._reaper = Reaper()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def stage(self) -> None:
        """Begin a stage: what is added from here on is stopped before what was added until now."""
        self._stages.append([])

    def add(self, command: Command) -> Process:
        """A process that is not started yet; names are unique."""
        assert self._reaper is not None, "inside `async with`"
        assert command.name not in self._processes, command.name
        process = Process(command, self.run_dir / f"{command.name}.log", self._reaper)
        self._processes[command.name] = process
        if not self._stages:
            self.stage()
        self._stages[-1].append(process)
        return process

    def process(self, name: str) -> Process:
        """A process by name; KeyError when there is none."""
        return self._processes[name]

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order in which they were added."""
        return tuple(self._processes)

    async def stop(self) -> None:
        """Stop stage after stage; a cancellation meanwhile turns what is left into kills."""
        try:
            for stage in reversed(self._stages):
                await asyncio.gather(*(process.terminate(self._grace_s) for process in stage))
        except asyncio.CancelledError:
            await asyncio.gather(*(process.kill() for process in self._processes.values()))
            raise
        finally:
            if self._reaper is not None:
                await asyncio.to_thread(self._reaper.close)
                self._reaper = None
