"""The summary of a result directory for a terminal."""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from farsight.cli.tables import new_table
from sim.cells import CellResult
from sim.report.columns import Column
from sim.report.sections import sections_of
from sim.report.summary import Entry, Row, summary


def summary_table(results: Iterable[CellResult]) -> Table:
    """Every section's policies with the figures that a terminal has room for, the best in bold."""
    tables = [(section.title, summary(section)) for section in sections_of(results)]
    columns = [c for _, found in tables[:1] for c in found.columns if c.in_console]
    headings = [_heading(column) for column in columns]
    table = new_table(["policy", *headings], headings)
    for title, found in tables:
        table.add_section()
        table.add_row(Text(title, "bold"))
        shown = [place for place, column in enumerate(found.columns) if column.in_console]
        for row in found.rows:
            table.add_row(_name(row), *(_entry(row.entries[place]) for place in shown))
    return table


def _heading(column: Column) -> str:
    return f"{column.group}\n{column.title}\n{column.unit}"


def _name(row: Row) -> Text:
    return Text(f"{row.policy} *" if row.has_gaps else row.policy)


def _entry(entry: Entry) -> Text:
    text = Text(entry.mean, "bold" if entry.is_best else "")
    if entry.spread:
        text.append(f"\n{entry.spread}", "not bold dim")
    return text
