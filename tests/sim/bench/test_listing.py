"""The lists of workloads and policies."""

import io

from rich.console import Console

from sim.bench.listing import listing


def test_defaults_are_marked() -> None:
    """So that nobody has to look into the code for what runs."""
    out = io.StringIO()

    Console(file=out, width=120).print(*listing())

    rows = [line.split() for line in out.getvalue().splitlines() if line]
    marked = {row[0]: row[1] == "yes" for row in rows if len(row) > 1}
    assert marked["predicted"]
    assert not marked["round-robin"]
