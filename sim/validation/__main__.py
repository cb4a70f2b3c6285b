"""`python -m sim.validation [--from DIR]`: what `make validate-sim` runs."""

import argparse
import asyncio
import contextlib
import shutil
import signal
import sys
from pathlib import Path

import msgspec
import uvloop
from rich.console import Console

from farsight.local.errors import LocalFleetError
from farsight.local.programs import PROJECT_ROOT
from farsight.local.ready import State
from sim.validation import report
from sim.validation.client import RequestFailed
from sim.validation.compare import judge
from sim.validation.observe import record
from sim.validation.records import PodSizes, Recording, load, save

RUN_DIR = PROJECT_ROOT / "build" / "validate-sim"
FIGURES = PROJECT_ROOT / "build" / "validate-sim.json"
_LOG_WIDTH = 120  # without a terminal


def main() -> int:
    """Exit code 0 when the figures are written, 1 when they are not, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="make validate-sim", description=__doc__)
    parser.add_argument(
        "--from",
        dest="directory",
        type=Path,
        help="judge the recording in this directory instead of measuring a pod",
    )
    directory: Path | None = parser.parse_args().directory
    console = Console()
    if not console.is_terminal:
        console = Console(width=_LOG_WIDTH)
    try:
        _run(directory, console)
    except (LocalFleetError, RequestFailed, OSError, msgspec.MsgspecError) as error:
        sys.stderr.write(f"validate-sim: {error}\n")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.stderr.write("validate-sim: interrupted; what it started is stopped\n")
        return 130
    return 0


def _run(directory: Path | None, console: Console) -> None:
    recording = load(directory) if directory else uvloop.run(_record(console))
    console.print("Fitting the constants and predicting the workload")
    verdict = judge(recording)
    report.write(verdict, recording.sizes, FIGURES)
    report.show(verdict, console)
    console.print(f"Figures: {FIGURES.relative_to(PROJECT_ROOT)}")


async def _record(console: Console) -> Recording:
    loop = asyncio.get_running_loop()
    running = asyncio.current_task()
    assert running is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, running.cancel)
    shutil.rmtree(RUN_DIR, ignore_errors=True)
    where = RUN_DIR.relative_to(PROJECT_ROOT)
    console.print(f"Measuring a real vLLM pod for about four minutes (log and data: {where})")

    def progress(name: str, state: State, seconds: float) -> None:
        if state is not State.STARTING:
            console.print(f"{name} {state.value} after {seconds:.0f} s")

    recording = await record(PodSizes(), RUN_DIR, console.print, progress)
    save(recording, RUN_DIR)
    return recording


if __name__ == "__main__":
    raise SystemExit(main())
