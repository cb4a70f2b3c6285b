"""The report of a result directory: one HTML file that needs no network and no script.

Equal cells give equal bytes, whatever they cost to run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sim import intervals
from sim.cells import CellResult, StoredCells
from sim.report.columns import Column
from sim.report.palette import Look, looks
from sim.report.plots import section_svg
from sim.report.sections import ORACLE, Section, sections_of
from sim.report.summary import Table, at_load, summary


@dataclass(frozen=True, slots=True)
class ColumnGroup:
    """Neighbouring columns under one heading."""

    title: str
    width: int


@dataclass(frozen=True, slots=True)
class SectionView:
    """What the page shows of a section."""

    name: str
    """Its anchor."""
    section: Section
    loads: tuple[str, ...]
    plots: Markup
    """Empty when there is no load to draw them against."""
    summary: Table
    by_load: tuple[Table, ...]
    """Empty when there is one load, of which the summary says it all."""


def groups_of(columns: Iterable[Column]) -> list[ColumnGroup]:
    """The headings above some columns."""
    groups: list[ColumnGroup] = []
    for column in columns:
        if groups and groups[-1].title == column.group:
            groups[-1] = ColumnGroup(column.group, groups[-1].width + 1)
        else:
            groups.append(ColumnGroup(column.group, 1))
    return groups


def render(stored: StoredCells) -> str:
    """The page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found = looks(cell.key.policy for cell in stored.results)
    sections = sections_of(stored.results)
    views = [_view(section, found, f"s{place + 1}") for place, section in enumerate(sections)]
    return environment.get_template("page.html.jinja").render(
        stored=stored,
        facts=_facts(stored.results),
        looks=found,
        sections=views,
        groups_of=groups_of,
        oracle=ORACLE,
        policies={cell.key.policy for cell in stored.results},
        knee=intervals,
        zip=zip,
    )


def write_page(stored: StoredCells, path: Path) -> None:
    """Write the page to a file."""
    path.write_text(render(stored), encoding="utf-8")


def _view(section: Section, policy_looks: Mapping[str, Look], name: str) -> SectionView:
    loads = section.loads
    return SectionView(
        name=name,
        section=section,
        loads=tuple(f"{load:g}" for load in loads),
        plots=Markup(section_svg(section, policy_looks, name) if loads else ""),
        summary=summary(section),
        by_load=tuple(at_load(section, load) for load in loads) if len(loads) > 1 else (),
    )


def _facts(results: Sequence[CellResult]) -> list[tuple[str, str]]:
    """What was run, by name."""
    keys = [cell.key for cell in results]
    return [
        ("workloads", ", ".join(sorted({key.workload for key in keys}))),
        ("pods", ", ".join(str(pods) for pods in sorted({key.pods for key in keys}))),
        ("seeds", ", ".join(str(seed) for seed in sorted({key.seed for key in keys}))),
        ("cells", f"{len(results):,}"),
        ("requests", f"{sum(cell.overall.requests for cell in results):,}"),
        ("decisions", f"{sum(cell.decisions for cell in results):,}"),
        ("virtual time", f"{sum(cell.virtual_s for cell in results) / 3600:,.1f} h"),
    ]
