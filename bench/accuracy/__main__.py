"""`python -m bench.accuracy`: what `make bench-accuracy` runs."""

import asyncio
import dataclasses
import shutil
import sys

import msgspec
import uvloop
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.accuracy.measure import FLEET, PROBES, TRAFFIC, Accuracy, measure
from farsight.cli.output import console
from farsight.cli.tables import fitted, new_table
from farsight.demo.phases import QUIET_S
from farsight.local.errors import LocalFleetError
from farsight.local.fleet import Fleet
from farsight.local.programs import PROJECT_ROOT

RUN_DIR = PROJECT_ROOT / "build" / "accuracy"
FIGURES = PROJECT_ROOT / "build" / "bench" / "index-accuracy.json"


def main() -> int:
    """Exit code 0 when the figures are written, 130 when it was interrupted."""
    try:
        accuracy = uvloop.run(_run())
    except LocalFleetError as error:
        sys.stderr.write(f"bench-accuracy: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    FIGURES.write_bytes(msgspec.json.format(msgspec.json.encode(accuracy), indent=2))
    table = new_table(("figure", "value"), figures=("value",))
    for name, value in dataclasses.asdict(accuracy).items():
        table.add_row(name, f"{value:.4g}")
    console().print(fitted(table))
    return 0


async def _run() -> Accuracy:
    shutil.rmtree(RUN_DIR, ignore_errors=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console()) as progress:
        bar = progress.add_task("starting three pods", total=TRAFFIC.requests + PROBES.requests)
        async with Fleet(FLEET, RUN_DIR) as fleet:
            progress.update(bar, description="requests")
            await asyncio.sleep(QUIET_S)
            return await measure(fleet, TRAFFIC, PROBES, lambda _: progress.advance(bar))


if __name__ == "__main__":
    raise SystemExit(main())
