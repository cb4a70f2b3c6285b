"""The look of every table: no frame, as wide as the terminal up to WIDEST, figures never cut."""

from collections.abc import Collection

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.constrain import Constrain
from rich.table import Table

WIDEST = 120


def new_table(
    headers: Collection[str], figures: Collection[str] = (), states: Collection[str] = ()
) -> Table:
    """An empty table. Figures stand at the right; only what is no figure or state is folded."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=0, expand=True)
    for header in headers:
        table.add_column(
            header,
            justify="right" if header in figures else "left",
            overflow="fold",
            no_wrap=header in figures or header in states,
        )
    return table


def fitted(table: Table) -> RenderableType:
    """The table at its place on the page."""
    return Constrain(table, WIDEST)
