"""The tables of the report as JSON."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from sim.cells import CellResult
from sim.report.columns import Column
from sim.report.sections import Section, sections_of
from sim.report.summary import Table, at_load, summary

_UNITS = {"tok/s": "tokens_per_s", "/s": "per_s", "%": "percent", "x oracle": "of_oracle"}


def write_summary(results: Iterable[CellResult], path: Path) -> None:
    """Write every section's figures, by policy and name, with their intervals over seeds."""
    sections = [_section(section) for section in sections_of(results)]
    encoded = msgspec.json.encode({"sections": sections})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(encoded, indent=2) + b"\n")


def _section(section: Section) -> dict[str, Any]:
    return {
        "workload": section.workload,
        "pods": section.pods,
        "settings": dict(section.settings),
        "load": section.axis.value,
        "seeds": section.seeds,
        "policies": _figures(summary(section)),
        "by_load": {f"{load:g}": _figures(at_load(section, load)) for load in section.loads},
    }


def _figures(table: Table) -> dict[str, Any]:
    names = [_name(column) for column in table.columns]
    return {
        row.policy: {
            name: {"mean": entry.seen.mean, "half_width": entry.seen.half_width}
            for name, entry in zip(names, row.entries, strict=True)
            if entry.seen is not None
        }
        for row in table.rows
    }


def _name(column: Column) -> str:
    parts = (column.group, column.title, _UNITS.get(column.unit, column.unit))
    return "_".join(part for part in parts if part).lower().replace(" ", "_")
