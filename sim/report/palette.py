"""How each policy looks: the same on every plot and in every table of a page."""

from collections.abc import Iterable
from dataclasses import dataclass

from sim.report.sections import ORACLE

# Okabe and Ito's scheme without its yellow, too pale for a line, and two dark ones of Paul Tol's
# "muted" scheme: both are made for readers who are blind to a colour.
COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7"),
    *("#332288", "#e69f00", "#56b4e9", "#882255"),
)
_MARKERS = "osD^vPX<>"
_LINES = ("solid", "dashed", "dotted")


@dataclass(frozen=True, slots=True)
class Look:
    """One policy's."""

    colour: str
    line: str
    """A name that CSS and matplotlib share."""
    marker: str


_ORACLE_LOOK = Look("#000000", "dotted", "*")


def looks(policies: Iterable[str]) -> dict[str, Look]:
    """A look for each policy, by name; the ninth has the first's colour and another line."""
    found = {ORACLE: _ORACLE_LOOK}
    for place, policy in enumerate(sorted(set(policies) - {ORACLE})):
        lap, at = divmod(place, len(COLOURS))
        line = _LINES[lap % len(_LINES)]
        found[policy] = Look(COLOURS[at], line, _MARKERS[(at + lap) % len(_MARKERS)])
    return found
