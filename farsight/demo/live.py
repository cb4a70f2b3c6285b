"""The demo's live table: `farsight top`'s, with a line about the phase above it."""

import asyncio
import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from farsight.cli.top_table import TopState, fetch, render
from farsight.demo.senders import Sent
from farsight.errors import EtcdUnavailable
from farsight.etcd import Etcd

REFRESH_S = 1.0
# Without a terminal the table is printed now and then instead of redrawn.
PRINT_EVERY_S = 15.0


class LiveTable:
    """An async context manager that keeps the table current while the workload runs."""

    def __init__(self, console: Console, etcd: Etcd) -> None:
        self._console = console
        self._etcd = etcd
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._phase = ""
        self._done = 0
        self._failed = 0
        self._printed_s = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        self._task = asyncio.create_task(self._refresh())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._console.is_terminal:
            self._live.stop()
        if error is None:
            self._console.print(render(await fetch(self._etcd)))

    def begin(self, phase: str) -> None:
        """A phase begins."""
        self._phase, self._done = phase, 0
        self._console.print(f"[bold]{phase}[/]")

    def took(self, sent: Sent) -> None:
        """A request has ended."""
        self._done += 1
        if sent.failed:
            self._failed += 1
            self._console.print(f"[red]request failed[/]: {sent.failed[:200]}")

    async def _refresh(self) -> None:
        state: TopState | None = None
        while True:
            try:
                state = await fetch(self._etcd, state)
                self._show(state)
            except EtcdUnavailable as error:
                self._console.print(str(error))
            await asyncio.sleep(REFRESH_S)

    def _show(self, state: TopState) -> None:
        heading = Text(f"{self._phase}: {self._done} done, {self._failed} failed")
        if self._console.is_terminal:
            self._live.update(Group(heading, render(state)), refresh=True)
        elif time.monotonic() - self._printed_s > PRINT_EVERY_S:
            self._printed_s = time.monotonic()
            self._console.print(heading, render(state))
