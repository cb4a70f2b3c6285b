"""Processes that are measured, and what they count."""

import os

import pytest

from bench.index.processes import Cores, Worker, WorkFailed
from bench.index.progress import Progress


class Counter:
    """Something that a process holds."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, number: int) -> int:
        """The sum so far."""
        self.count += number
        return self.count

    def where(self) -> tuple[int, set[int]]:
        """Process id and cores."""
        return os.getpid(), os.sched_getaffinity(0)

    def fail(self) -> None:
        """Raise."""
        raise ValueError("no such block")

    def end(self) -> None:
        """End the process."""
        os._exit(3)


@pytest.mark.timeout(60)
def test_work_is_done_in_another_process_on_its_core() -> None:
    """On one object from beginning to end."""
    cores = Cores.take()
    with Worker(Counter, cores.measured) as worker:
        assert worker.do(Counter.add, 2) == 2
        worker.start(Counter.add, 3)
        assert worker.result() == 5
        pid, on = worker.do(Counter.where)

    assert pid != os.getpid()
    assert on == {cores.measured}


@pytest.mark.timeout(60)
def test_what_goes_wrong_there_is_told_here() -> None:
    """An exception with its traceback, and an end."""
    with Worker(Counter, Cores.take().load) as worker:
        with pytest.raises(WorkFailed, match="no such block"):
            worker.do(Counter.fail)
        assert worker.do(Counter.add, 1) == 1
        with pytest.raises(WorkFailed, match="ended with 3"):
            worker.do(Counter.end)


def test_progress_that_stops_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how far it came."""
    monkeypatch.setattr("bench.index.progress.STALL_LIMIT_S", 0.01)
    progress = Progress()
    progress.set(4)

    progress.wait_for(4)
    with pytest.raises(TimeoutError, match="stopped at 4 of 5"):
        progress.wait_for(5)
