"""`python -m farsight.demo [--keep] [--pods vllm|emulated]`: what `make demo` runs."""

import argparse
import asyncio
import contextlib
import signal
import sys
from typing import get_args

import uvloop

from farsight.demo.run import Demo
from farsight.local.errors import LocalFleetError
from farsight.local.fleet import PodKind


def main() -> int:
    """Exit code 0 when every request was served, 130 when it was interrupted."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running at the end")
    parser.add_argument(
        "--pods", choices=get_args(PodKind), default="vllm", help="real engines, or modelled ones"
    )
    options = parser.parse_args()
    try:
        return uvloop.run(_run(options.keep, options.pods))
    except LocalFleetError as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.stderr.write("demo: interrupted; everything that it started is stopped\n")
        return 130


async def _run(keep: bool, pods: PodKind) -> int:
    loop = asyncio.get_running_loop()
    running = asyncio.current_task()
    assert running is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, running.cancel)
    return await Demo(keep, pods).run()


if __name__ == "__main__":
    raise SystemExit(main())
