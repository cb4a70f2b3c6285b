"""The table of the figures that are asked for."""

from rich.console import Console

from bench.index.figures import ROWS
from bench.index.results import Figures
from farsight.cli.tables import fitted, new_table

BESIDE = ("Dynamo", "dict", "echo")


def show(figures: Figures, out: Console) -> None:
    """What was measured beside what must be reached and what others reach."""
    headers = ("to reach", "measured", *BESIDE)
    table = new_table(("figure", *headers, "reached"), headers, ("reached",))
    for row in ROWS:
        peers = [
            row.shown(figures.get(row.beside[peer])) if peer in row.beside else ""
            for peer in BESIDE
        ]
        measured = row.shown(figures.get(row.name))
        table.add_row(row.title, row.wanted(), measured, *peers, row.verdict(figures))
    out.print(fitted(table))
