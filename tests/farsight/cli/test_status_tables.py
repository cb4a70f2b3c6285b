"""The status page on terminals of several widths."""

import pytest

from farsight.cli.status_problems import judge
from farsight.cli.status_tables import render
from tests.farsight.cli.shown import CUT, endpoint, fleet, load, service, shown, source, unwrapped


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_nothing_is_cut(columns: int) -> None:
    """Long names are folded, never cut."""
    page = shown(render(judge(fleet(services=(service("sidecar"),)), ())), columns)

    assert CUT not in page
    assert all(len(line) <= columns for line in page.splitlines())
    assert "27,648" in page
    assert "1790000000000" in unwrapped(page)


def test_lines_at_120() -> None:
    """With names of usual length a row is one line at 120 columns."""
    lines = shown(render(judge(fleet(), ())), 120).splitlines()

    assert any("http://10.244.13.107:8000" in li and "1790000000000" in li for li in lines)
    assert any("indexer-7d9c6b5f4-x2v9q" in li and "serving" in li for li in lines)


def test_degraded_row() -> None:
    """A degraded source shows its lag and reason."""
    page = shown(render(judge(fleet(index=(source(confidence="DEGRADED", reason="gap"),)), ())))

    row = next(line for line in page.splitlines() if "DEGRADED" in line)
    assert row.split()[:5] == ["e0", "indexer-0", "DEGRADED", "7", "120"]
    assert row.rstrip().endswith("gap")


def test_source_of_no_registered_endpoint() -> None:
    """The index may still hold an endpoint that was withdrawn; the page says so."""
    page = shown(render(judge(fleet(index=(source(), source("e9"))), ())))

    assert "endpoint is not registered" in page


def test_oldest_load() -> None:
    """The load age is the one of the router that heard of it longest ago."""
    page = shown(render(judge(fleet(loads=(load(age_ms=90), load(age_ms=None))), ())))

    assert "never" in page


def test_square_brackets_are_shown() -> None:
    """Names are text, not markup."""
    page = shown(render(judge(fleet(endpoints=(endpoint("a[bold]b"),)), ())))

    assert "a[bold]b" in page
