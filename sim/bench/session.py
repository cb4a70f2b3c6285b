"""One run of the benchmark: check, skip what is finished, run the rest, and report."""

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from farsight.cli.tables import fitted
from sim.bench.matrix import Part, check, expand
from sim.bench.processes import processes
from sim.bench.progress import showing
from sim.bench.runner import RunCell, Runner, Workers
from sim.bench.summary_json import write_summary
from sim.cells import CellKey, ResultStore
from sim.report.console import summary_table
from sim.report.page import write_page
from sim.run_cell import run_cell

REPORT = "report.html"
INTERRUPTED = 130


def run_bench(
    parts: Iterable[Part],
    out: Path,
    console: Console,
    jobs: int = 1,
    summary: Path | None = None,
    run: RunCell = run_cell,
    workers: Workers = processes,
) -> int:
    """Run all cells of the parts that `out` does not hold yet.

    :returns: the exit code: 0, 1 when a cell failed, 130 when it was interrupted.
    :raises InvalidField: something is unknown or contradicts itself; nothing has run then.
    """
    keys = expand(parts)
    check(keys)
    store = ResultStore(out)
    todo = [key for key in keys if not store.has(key)]
    if len(todo) < len(keys):
        skipped = len(keys) - len(todo)
        console.print(f"{skipped} of {len(keys)} cells are finished already, in {out}: skipped")
    try:
        with showing(console, len(todo)) as progress:
            failed = Runner(store, progress, jobs, run, workers).run(todo)
    except KeyboardInterrupt:
        kept = sum(map(store.has, keys))
        console.print(
            f"interrupted: {kept} of {len(keys)} cells are kept in {out}; the same command goes on"
        )
        return INTERRUPTED
    _report(store, keys, out / REPORT, summary, console)
    return 1 if failed else 0


def _report(
    store: ResultStore, keys: Iterable[CellKey], page: Path, summary: Path | None, console: Console
) -> None:
    """The page is of the whole directory, the tables are of this run's cells."""
    stored = store.read_all()
    asked = set(keys)
    results = [result for result in stored.results if result.key in asked]
    if results:
        console.print(fitted(summary_table(results)))
    if summary is not None:
        write_summary(results, summary)
    failures = sum(failure.key in asked for failure in stored.failures)
    if failures:
        console.print(f"[red]{failures} of {len(asked)} cells failed; the report says why[/]")
    write_page(stored, page)
    console.print(f"Report: {page}", soft_wrap=True)
