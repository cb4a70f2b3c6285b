"""What `make validate-sim` writes and shows."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from sim.validation import report
from sim.validation.compare import Comparison, Figure, Verdict
from sim.validation.records import Machine
from tests.sim.validation.given import SIZES, TRUTH

FIGURES = {
    "ttft_p50": Figure(0.04, 0.05),
    "ttft_p90": Figure(0.08, 0.08),
    "e2e_p50": Figure(0.2, 0.21),
    "e2e_p90": Figure(0.4, 0.3),
}
VERDICT = Verdict(TRUTH, (Comparison(1.1, Machine(60.0, 2, 0.0, 0.02), FIGURES, 170, 169),), 0.99)


def test_the_figures_are_written_under_their_names(tmp_path: Path) -> None:
    """With the constants that they come from."""
    report.write(VERDICT, SIZES, tmp_path / "build" / "figures.json")

    figures = json.loads((tmp_path / "build" / "figures.json").read_text())
    assert figures["ttft_p50_error"] == pytest.approx(0.25)
    assert figures["ttft_p90_error"] == pytest.approx(0.0)
    assert figures["e2e_p50_error"] == pytest.approx(0.05)
    assert figures["e2e_p90_error"] == pytest.approx(0.25)
    assert figures["cached_tokens_equal_share"] == pytest.approx(169 / 170)
    assert figures["cached_tokens_repeated_share"] == 0.99
    assert figures["constants"]["rates"]["base_s"] == TRUTH.rates.base_s
    assert figures["pod"]["kv_blocks"] == SIZES.kv_blocks


def test_the_table_says_what_was_measured_and_predicted() -> None:
    """In milliseconds, beside the error and its target."""
    out = io.StringIO()

    report.show(VERDICT, Console(file=out, width=120))

    (row,) = [line for line in out.getvalue().splitlines() if "TTFT p50" in line]
    assert "40.0 → 50.0" in row
    assert "25.0%" in row
    assert "15%" in row
    assert "169 of 170" in out.getvalue()
