"""`python -m bench.index`: what `make bench-index` runs.

One core is measured, everything that loads it runs on another one.
"""

import os
import sys
import time
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from bench.index.parts import PARTS
from bench.index.peer_holders import has_dynamo
from bench.index.processes import Cores
from bench.index.results import Results
from bench.index.show import show
from bench.index.sizes import FULL, QUICK
from farsight.cli.output import console

FIGURES = Path("build/bench/index.json")
QUICK_FIGURES = FIGURES.with_name("index-quick.json")

Part = Enum("Part", {name: name for name in PARTS}, type=str)  # type: ignore[misc] # from a dict

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def bench(
    only: Annotated[
        list[Part] | None, typer.Option(help="Measure this part again; repeatable.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="Tiny sizes: does it work at all.")] = False,
    out: Annotated[
        Path | None, typer.Option(help=f"Where the figures are written; {FIGURES}.")
    ] = None,
) -> None:
    """Figures of the KV index; about a quarter of an hour.

    Exit code: 0 when the figures are written, whether or not they reach what is asked; 130 when it
    was interrupted, with the finished parts written.
    """
    shown = console()
    if not has_dynamo():
        shown.print("Dynamo's package is not installed: its columns stay empty")
    cores = Cores.take()
    os.sched_setaffinity(0, {cores.load})
    path = out or (QUICK_FIGURES if quick else FIGURES)
    if not only:
        path.unlink(missing_ok=True)
    results = Results(path)
    try:
        for part in [chosen.value for chosen in only or Part]:
            shown.print(part)
            started = time.monotonic()
            figures = PARTS[part](QUICK if quick else FULL, cores)
            results.add(part, figures, time.monotonic() - started)
    except KeyboardInterrupt:
        sys.stderr.write("bench-index: interrupted\n")
        raise typer.Exit(130) from None
    show(results.figures, shown)
    shown.print(f"Figures: {path}")


if __name__ == "__main__":
    app()
