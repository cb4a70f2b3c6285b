"""Compiles or loads the kernels before the first request."""

import fcntl
import os
import tempfile
from pathlib import Path

from farsight import keys
from sim.emulator import answers
from sim.engine.warm import warm as warm_engines


def warm() -> None:
    """One process at a time: of emulators that are started side by side the first one compiles,
    which takes half a minute, and the others load what it has stored."""
    lock = Path(tempfile.gettempdir()) / f"farsight-kernels-{os.getuid()}.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        keys.warm()
        answers.warm()
        warm_engines()
