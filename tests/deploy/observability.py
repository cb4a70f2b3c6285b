"""Declared metrics, and the queries of the dashboard and the alert rules."""

import functools
import importlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import REGISTRY, Counter, Gauge, Histogram

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "farsight.json"
_DECLARATION = re.compile(r"\b(?:counter|gauge|histogram)\(\s*\"farsight_")
_NAME = re.compile(r"\b(?:farsight|process)_[a-z0-9_]+")
_SUFFIXES: Mapping[type, tuple[str, ...]] = {
    Counter: ("_total",),
    Gauge: ("",),
    Histogram: ("_bucket", "_sum", "_count"),
}


@dataclass(frozen=True, slots=True)
class Declared:
    """A metric as its page names it (counters with `_total`), its labels and its series."""

    name: str
    labels: tuple[str, ...]
    series: tuple[str, ...]


@functools.cache
def declared_metrics() -> Mapping[str, Declared]:
    """Every metric that `farsight/` and `services/` declare, by name."""
    found: dict[str, Declared] = {}
    for path in sorted([*ROOT.glob("farsight/**/*.py"), *ROOT.glob("services/**/*.py")]):
        if not _DECLARATION.search(path.read_text()):
            continue
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for value in vars(module).values():
            if isinstance(value, Counter | Gauge | Histogram):
                name = str(value._name) + ("_total" if isinstance(value, Counter) else "")
                series = tuple(str(value._name) + s for s in _SUFFIXES[type(value)])
                found[name] = Declared(name, tuple(value._labelnames), series)
    return found


def known_series() -> set[str]:
    """Every series name that a process can export."""
    names = {series for metric in declared_metrics().values() for series in metric.series}
    for family in REGISTRY.collect():
        if family.name.startswith("process_"):
            names |= {family.name, f"{family.name}_total"}
    return names


def panel_queries() -> Mapping[str, str]:
    """Queries of the dashboard, by panel title and reference."""
    dashboard = json.loads(DASHBOARD.read_text())
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    }


def alert_rules() -> Iterator[Mapping[str, Any]]:
    """Every alert rule."""
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from group["rules"]


def all_queries() -> Mapping[str, str]:
    """Queries of dashboard and alert rules, by where they stand."""
    return {**panel_queries(), **{rule["alert"]: rule["expr"] for rule in alert_rules()}}


def series_in(query: str) -> set[str]:
    """Series names in a query."""
    return set(_NAME.findall(query))
