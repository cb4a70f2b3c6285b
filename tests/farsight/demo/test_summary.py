"""The demo's summary: the names in its JSON, and what people read."""

import json
from io import StringIO
from pathlib import Path

from rich.console import Console

from farsight.demo.figures import PhaseFigures
from farsight.demo.summary import Summary

SUMMARY = Summary(
    pods="emulated",
    start_s=68.2,
    round_robin=PhaseFigures(81, 0, 0.43, 475.0, 1142.0),
    farsight=PhaseFigures(81, 1, 0.74, 171.0, 517.0),
    exact_share=1.0,
    settled_requests=42,
    probes_failed=2,
    route_p50_ms=4.9,
    route_p99_ms=16.0,
    bundle_versions=(0, 1, 2),
)


def test_the_json_has_the_agreed_names(tmp_path: Path) -> None:
    """Other programs read these."""
    path = tmp_path / "build" / "demo.json"

    SUMMARY.write(path)

    figures = json.loads(path.read_text())
    agreed = {
        "requests", "failed_requests", "exact_share", "cached_share", "cached_share_round_robin",
        "ttft_p50_ms", "ttft_p50_ms_round_robin", "route_p50_ms", "route_p99_ms",
        "bundle_versions", "start_s", "pods",
    }  # fmt: skip
    assert agreed <= figures.keys()
    assert (figures["requests"], figures["failed_requests"]) == (162, 3)


def test_people_see_the_comparison() -> None:
    """Shares, latencies and their ratio stand beside each other."""
    console = Console(record=True, width=100, file=StringIO())

    SUMMARY.show(console)

    text = console.export_text()
    assert "1.72x" in text
    assert "0.36x" in text
    assert "0 -> 1 -> 2" in text
    assert "on the same emulated pods" in text
