"""Runs cells in processes; one that fails, or kills its process, costs no other cell."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import AbstractContextManager

from sim.bench.processes import processes
from sim.bench.progress import Progress
from sim.cells import CellKey, CellResult, ResultStore
from sim.run_cell import run_cell

Workers = Callable[[int], AbstractContextManager[Executor]]
RunCell = Callable[[CellKey], CellResult]


class Runner:
    """Keeps every result in the store the moment that it is there."""

    def __init__(
        self,
        store: ResultStore,
        progress: Progress,
        jobs: int = 1,
        run: RunCell = run_cell,
        workers: Workers = processes,
    ) -> None:
        self._store = store
        self._progress = progress
        self._jobs = jobs
        self._run_cell = run
        self._workers = workers
        self._failed = 0

    def run(self, keys: Iterable[CellKey]) -> int:
        """Run cells in order, `jobs` at a time.

        :returns: how many failed.
        """
        self._failed = 0
        todo = deque(keys)
        while todo:
            for suspect in self._run_together(todo):
                self._run_alone(suspect)
        return self._failed

    def _run_together(self, todo: deque[CellKey]) -> list[CellKey]:
        """Until all are done, or a process has died.

        :returns: the cells that were running then.
        """
        lost: list[CellKey] = []
        running: dict[Future[CellResult], CellKey] = {}
        jobs = min(self._jobs, len(todo))
        with self._workers(jobs) as pool:
            while running or (todo and not lost):
                while todo and not lost and len(running) < jobs:
                    key = todo.popleft()
                    self._progress.started(key)
                    try:
                        running[pool.submit(self._run_cell, key)] = key
                    except BrokenExecutor:
                        lost.append(key)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    key = running.pop(future)
                    if isinstance(future.exception(), BrokenExecutor):
                        lost.append(key)
                    else:
                        self._settle(key, future)
        return lost

    def _run_alone(self, key: CellKey) -> None:
        """The one way to know which of several cells it is that kills its process."""
        with self._workers(1) as pool:
            future = pool.submit(self._run_cell, key)
            wait([future])
        self._settle(key, future)

    def _settle(self, key: CellKey, future: Future[CellResult]) -> None:
        error = future.exception()
        if error is None:
            result = future.result()
            self._store.write(result)
            self._progress.finished(result)
            return
        self._failed += 1
        told = _told(error)
        self._store.failed(key, told)
        self._progress.failed(key, told)


def _told(error: BaseException) -> str:
    if isinstance(error, BrokenExecutor):
        return "its process died; the system may have run out of memory"
    return f"{type(error).__name__}: {error}"
