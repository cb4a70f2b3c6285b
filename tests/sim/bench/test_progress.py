"""What is seen while cells run."""

import io
from collections.abc import Iterator

from rich.console import Console

from sim.bench.progress import BarProgress, LineProgress, showing, title
from sim.cells import CellKey
from tests.fakes.cell_results import cell


def test_a_title_names_the_load() -> None:
    """Whichever it is."""
    assert title(CellKey("chat", "load", 2, 4.0, None, 1)) == "chat load 4/s seed 1"
    assert title(CellKey("reasoning", "load", 2, None, 50, 3)) == "reasoning load 50 users seed 3"
    assert title(CellKey("chat", "load", 2, None, None, 1)) == "chat load seed 1"


def test_lines_without_a_terminal() -> None:
    """One for each end, with what is left at the pace so far."""
    out = io.StringIO()
    ticks: Iterator[float] = iter([0.0, 10.0, 20.0, 30.0])
    progress = LineProgress(Console(file=out, width=40), 3, lambda: next(ticks))

    progress.started(cell().key)
    progress.finished(cell())
    progress.failed(cell("load").key, "ValueError: [red] " + 30 * "long ")
    progress.finished(cell("random"))

    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0] == "1/3 b2b-saas least-requests 10/s seed 1: 2.5 s; about 20 s to go"
    assert lines[1].startswith("2/3 b2b-saas load 10/s seed 1 failed: ValueError: [red] long")
    assert lines[2] == "3/3 b2b-saas random 10/s seed 1: 2.5 s"


def test_a_bar_on_a_terminal() -> None:
    """It names what runs, counts what is done, and leaves failures above it."""
    console = Console(file=io.StringIO(), force_terminal=True, width=160, color_system=None)

    with showing(console, 3) as progress:
        assert isinstance(progress, BarProgress)
        progress.started(cell("load").key)
        progress.started(cell("random").key)
        progress.failed(cell("load").key, "ValueError: a bad day")
        progress.finished(cell("random"))

    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "b2b-saas load 10/s seed 1 failed: ValueError: a bad day" in shown
    assert "2/3" in shown


def test_a_cell_that_runs_again_is_named_once() -> None:
    """As when the process of a neighbour died."""
    console = Console(file=io.StringIO(), force_terminal=True, width=160, color_system=None)

    with showing(console, 1) as progress:
        progress.started(cell().key)
        progress.started(cell().key)
        progress.finished(cell())

    assert isinstance(console.file, io.StringIO)
    assert "1/1" in console.file.getvalue()
    assert "more" not in console.file.getvalue()
