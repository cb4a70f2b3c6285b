"""What is written and shown."""

import io
import json
from pathlib import Path

from rich.console import Console

from bench.index.figures import ROWS
from bench.index.results import Results
from bench.index.show import show

ASKED = {
    *("ingest_blocks_per_s", "bytes_per_block", "match450_p50_us", "match450_p99_us"),
    *("match8192_1000_p50_ms", "nats_ingest_blocks_per_s", "sidecar_blocks_per_s"),
    *("sidecar_added_p99_ms", "match_rpc_p50_over_echo", "match_rpc16_rate_over_echo"),
    *("recovery_10m_s", "clear_ms"),
}


def test_every_figure_that_is_asked_for_has_a_row() -> None:
    """And no other one."""
    assert {row.name for row in ROWS} == ASKED


def test_a_part_replaces_its_own_figures(tmp_path: Path) -> None:
    """The others stay, with their origin."""
    path = tmp_path / "made" / "index.json"
    Results(path).add("clear", {"clear_ms": 7.0}, 1.0)
    Results(path).add("ingest", {"ingest_blocks_per_s": 1e6}, 2.0)

    results = Results(path)
    results.add("ingest", {"ingest_blocks_per_s": 9e6}, 3.0)

    written = json.loads(path.read_text())
    assert results.figures == {"clear_ms": 7.0, "ingest_blocks_per_s": 9e6}
    assert written.items() >= results.figures.items()
    assert {name: part["took_s"] for name, part in written["parts"].items()} == {
        "clear": 1.0,
        "ingest": 3.0,
    }
    assert written["parts"]["clear"]["commit"]
    assert written["machine"]["cpu"]
    assert written["machine"]["versions"]["numpy"] != "absent"


def test_the_table_says_what_was_missed() -> None:
    """Beside what must be reached and what others reach; dashes for what was not measured."""
    out = io.StringIO()
    figures = {
        "ingest_blocks_per_s": 7.5e6,
        "dict_ingest_blocks_per_s": 2.7e6,
        "clear_ms": 12.5,
        "sidecar_added_p99_ms": 5.5,
        "sidecar_echo_p99_ms": 0.75,
    }

    show(figures, Console(file=out, width=120))

    lines = {line.split("  ")[0]: line for line in out.getvalue().splitlines()}
    ingest = lines["table ingest, 64-key deltas"].split()
    assert ingest[4:] == [">=", "8", "M/s", "7.5", "M/s", "-", "2.7", "M/s", "MISSED"]
    assert lines["clear of an endpoint, 5 M blocks"].split()[-1] == "yes"
    assert "0.75 ms" in lines["sidecar, added at 2,000 blocks/s, p99"]
    assert "MISSED" in lines["sidecar, added at 2,000 blocks/s, p99"]
    assert "yes" not in lines["NATS to table"]
    assert "MISSED" not in lines["NATS to table"]
