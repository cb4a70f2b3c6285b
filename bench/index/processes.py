"""Processes of their own, each on one core: what is measured on one, what loads it on the other.

Each begins with empty caches and memory of its own, and ends with this one.
"""

import logging
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import parent_process
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

_fresh = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Cores:
    """`measured` is where the measured process runs, `load` where all others do."""

    measured: int
    load: int

    @classmethod
    def take(cls) -> "Cores":
        """Two of the cores that this process may use, or the only one twice."""
        usable = sorted(os.sched_getaffinity(0))
        return cls(usable[-1], usable[0])


class WorkFailed(RuntimeError):
    """A process raised, or has ended; the message has its traceback."""


class Worker(Generic[T]):
    """One fresh process that makes an object and works with it; a context manager.

    :param make: called in the process; what it returns stays there.
    """

    def __init__(self, make: Callable[[], T], core: int) -> None:
        self._pipe, theirs = _fresh.Pipe()
        self._process = _fresh.Process(target=_live, args=(theirs, core, make), daemon=True)
        self._process.start()
        theirs.close()
        self._take()

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process.pid is not None
        return self._process.pid

    def cpu_s(self, since_s: float = 0.0) -> float:
        """Processor time of the process so far, less `since_s`; as `cpu_s`, seconds."""
        return cpu_s(self.pid, since_s)

    def do(self, work: Callable[Concatenate[T, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """`work(object, ...)` in the process."""
        self.start(work, *args, **kwargs)
        return cast(R, self.result())

    def start(
        self, work: Callable[Concatenate[T, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """The same without waiting for the end."""
        self._pipe.send((work, args, kwargs))

    def result(self) -> Any:
        """What the work that was started returned."""
        return self._take()

    def _take(self) -> Any:
        try:
            worked, answer = self._pipe.recv()
        except EOFError:
            self._process.join(5)
            raise WorkFailed(f"a process ended with {self._process.exitcode}") from None
        if not worked:
            raise WorkFailed(answer)
        return answer

    def __enter__(self) -> "Worker[T]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def cpu_s(pid: int, since_s: float = 0.0) -> float:
    """Processor time of a process so far, less `since_s`, seconds; one clock tick at least."""
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return max(sum(map(int, fields[11:13])) / ticks_per_s - since_s, 1 / ticks_per_s)


def _live(pipe: Connection, core: int, make: Callable[[], Any]) -> None:
    os.sched_setaffinity(0, {core})
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    logging.getLogger().addHandler(logging.NullHandler())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    held: list[Any] = []
    _answer(pipe, lambda: held.append(make()))
    while True:
        try:
            work, args, kwargs = pipe.recv()
        except EOFError:
            return
        _answer(pipe, partial(work, held[0], *args, **kwargs))


def _answer(pipe: Connection, work: Callable[[], Any]) -> None:
    try:
        pipe.send((True, work()))
    except Exception:
        pipe.send((False, traceback.format_exc()))


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
