"""Dashboard, alert rules and `docs/metrics.md` speak of the metrics that exist."""

import json
import re
from collections.abc import Iterator

from tests.deploy.observability import (
    DASHBOARD,
    ROOT,
    alert_rules,
    all_queries,
    declared_metrics,
    known_series,
    panel_queries,
    series_in,
)

_SERIES_WITH_MATCHERS = re.compile(r"(farsight_[a-z0-9_]+)\{([^}]*)\}")
_MATCHER = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
_ROW = re.compile(r"^\| `(farsight_[a-z0-9_]+)` \|([^|]*)\|", re.MULTILINE)
TARGET_LABELS = {"job", "instance", "le"}


def documented() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Name and labels of each row of the page."""
    for name, labels in _ROW.findall((ROOT / "docs" / "metrics.md").read_text()):
        yield name, tuple(re.findall(r"`([a-z_]+)`", labels))


def test_every_query_names_existing_series() -> None:
    """No panel and no alert asks for a series that nothing exports."""
    known = known_series()

    unknown = {where: series_in(query) - known for where, query in all_queries().items()}

    assert {where: names for where, names in unknown.items() if names} == {}


def test_every_matcher_names_an_existing_label() -> None:
    """A matcher on a label that a metric does not have would select nothing."""
    labels = {s: set(m.labels) for m in declared_metrics().values() for s in m.series}

    wrong = [
        (where, series, label)
        for where, query in all_queries().items()
        for series, matchers in _SERIES_WITH_MATCHERS.findall(query)
        for label in _MATCHER.findall(matchers)
        if label not in labels[series] | TARGET_LABELS
    ]

    assert wrong == []


def test_every_grouping_is_by_existing_labels() -> None:
    """`by (...)` names labels of the metrics of its query."""
    labels = {s: set(m.labels) for m in declared_metrics().values() for s in m.series}

    for where, query in all_queries().items():
        possible = TARGET_LABELS.union(*(labels.get(s, set()) for s in series_in(query)))
        for grouping in re.findall(r"\bby \(([^)]*)\)", query):
            assert {label.strip() for label in grouping.split(",")} <= possible, where


def test_every_metric_is_on_the_page_once() -> None:
    """The page has one row per declared metric, with the labels that it has."""
    rows = list(documented())

    assert len({name for name, _ in rows}) == len(rows)
    assert dict(rows) == {m.name: m.labels for m in declared_metrics().values()}


def test_names_follow_the_scheme() -> None:
    """farsight_<owner>_<thing>_<unit>: seconds and bytes, never milliseconds."""
    for name in declared_metrics():
        assert re.fullmatch(r"farsight(_[a-z0-9]+){2,}", name)
        assert not re.search(r"_(ms|millis|kb|mb)(_|$)", name)


def test_alerts_are_named_and_explained() -> None:
    """Each alert has a severity, a summary, and a runbook section of its own."""
    sections = re.findall(r"^## (\S+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    names = [rule["alert"] for rule in alert_rules()]

    assert sorted(names) == sorted(sections)
    for rule in alert_rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_quantiles_and_counters_are_asked_as_rates() -> None:
    """No panel shows a raw counter or a quantile since process start."""
    counters = {
        s
        for m in declared_metrics().values()
        for s in m.series
        if s.endswith(("_total", "_bucket"))
    }

    for query in panel_queries().values():
        for series in series_in(query) & counters:
            assert re.search(rf"(rate|increase)\({series}[{{\[]", query), query


def test_panels_do_not_overlap() -> None:
    """The grid is 24 wide and each cell belongs to one panel."""
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
