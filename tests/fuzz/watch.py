"""Guards of a fuzz run: no input may hang, none may be lost, memory may not grow."""

import faulthandler
import gc
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import psutil

HANG_CPU_S = 10.0
STUCK_S = 60.0
REARM_S = 5.0
MIB = 1 << 20


class Hang(Exception):
    """One input took HANG_CPU_S of the processor."""


def _hang(signal_number: int, frame: FrameType | None) -> None:
    raise Hang(f"one input took more than {HANG_CPU_S:g} s of the processor")


@contextmanager
def guarded(last_input: Path) -> Iterator[Callable[[Callable[[bytes], None], bytes], None]]:
    """Gives a function that runs an input under the guards.

    What is running lies in `last_input`, so that it is known after a crash of the process. A
    process in which no input ends for STUCK_S, and no signal helps, is ended with its stacks shown.
    """
    last_input.parent.mkdir(parents=True, exist_ok=True)
    before = signal.signal(signal.SIGPROF, _hang)
    armed_s = -STUCK_S

    with last_input.open("wb", buffering=0) as last:

        def run(target: Callable[[bytes], None], data: bytes) -> None:
            nonlocal armed_s
            os.pwrite(last.fileno(), data, 0)
            os.ftruncate(last.fileno(), len(data))
            if time.monotonic() - armed_s > REARM_S:  # it costs a thread
                armed_s = time.monotonic()
                faulthandler.dump_traceback_later(STUCK_S, exit=True)
            signal.setitimer(signal.ITIMER_PROF, HANG_CPU_S)
            try:
                target(data)
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)

        try:
            yield run
        finally:
            faulthandler.cancel_dump_traceback_later()
            signal.signal(signal.SIGPROF, before)


def memory_bytes() -> int:
    """Resident memory of this process, without garbage."""
    gc.collect()
    return int(psutil.Process().memory_info().rss)
