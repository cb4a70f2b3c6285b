"""What is seen while cells run: a bar on a terminal, a line for each cell without one."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich import progress as bars
from rich.console import Console

from farsight.cli import words
from sim.cells import CellKey, CellResult


class Progress(Protocol):
    """Told of every cell that begins and ends."""

    def started(self, key: CellKey) -> None:
        """A cell runs, for the first time or again."""
        ...

    def finished(self, result: CellResult) -> None:
        """A cell is done and kept."""
        ...

    def failed(self, key: CellKey, error: str) -> None:
        """A cell did not finish."""
        ...


def title(key: CellKey) -> str:
    """A cell for people."""
    load = [f"{key.rate:g}/s"] if key.rate is not None else []
    users = [f"{key.concurrency} users"] if key.concurrency is not None else []
    return " ".join([key.workload, key.policy, *load, *users, f"seed {key.seed}"])


class LineProgress:
    """A line for each cell that ends, with what is left by the time that it took so far."""

    def __init__(
        self, console: Console, cells: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._cells = cells
        self._done = 0
        self._clock = clock
        self._began_s = clock()

    def started(self, key: CellKey) -> None:
        """Nothing is said."""

    def finished(self, result: CellResult) -> None:
        """How long it took."""
        self._say(f"{title(result.key)}: {words.duration(result.cost.wall_s)}")

    def failed(self, key: CellKey, error: str) -> None:
        """Why."""
        self._say(f"{title(key)} failed: {error}")

    def _say(self, what: str) -> None:
        self._done += 1
        left = self._cells - self._done
        left_s = (self._clock() - self._began_s) / self._done * left
        about = f"; about {words.duration(left_s)} to go" if left else ""
        line = f"{self._done}/{self._cells} {what}{about}"
        self._console.print(line, markup=False, soft_wrap=True)


class BarProgress:
    """One bar over all cells, behind the names of those that run."""

    def __init__(self, bar: bars.Progress, cells: int) -> None:
        self._bar = bar
        self._task = bar.add_task("starting", total=cells)
        self._running: list[CellKey] = []

    def started(self, key: CellKey) -> None:
        """It is named."""
        if key not in self._running:
            self._running.append(key)
        self._show(0)

    def finished(self, result: CellResult) -> None:
        """The bar grows."""
        self._end(result.key)

    def failed(self, key: CellKey, error: str) -> None:
        """Said above the bar, where it stays."""
        self._bar.console.print(f"{title(key)} failed: {error}", style="red", markup=False)
        self._end(key)

    def _end(self, key: CellKey) -> None:
        self._running.remove(key)
        self._show(1)

    def _show(self, ended: int) -> None:
        more = f" and {len(self._running) - 1} more" if len(self._running) > 1 else ""
        named = f"{title(self._running[0])}{more}" if self._running else ""
        self._bar.update(self._task, advance=ended, description=named)


@contextmanager
def showing(console: Console, cells: int) -> Iterator[Progress]:
    """The one that fits the console."""
    if not console.is_terminal:
        yield LineProgress(console, cells)
        return
    columns = (
        bars.MofNCompleteColumn(),
        bars.BarColumn(30),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.description}", markup=False),
    )
    with bars.Progress(*columns, console=console, transient=True) as bar:
        yield BarProgress(bar, cells)
