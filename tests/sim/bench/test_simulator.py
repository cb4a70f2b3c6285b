"""The benchmark of the simulator itself: what it writes and shows."""

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from sim.bench.simulator import Figure, Figures, alone, show, write

FIGURES = Figures(
    realtime_factor_b2b_8pods_60qps=250.4,
    wall_s_100pods_1000qps_600s=700.0,
    peak_rss_mb=900.0,
    b2b={"precise-prefix": Figure(8000.0, 0.5), "random": Figure(4000.0, None)},
)


def test_figures_are_written_under_the_names_that_are_asked_for(tmp_path: Path) -> None:
    """No more and no less."""
    file = tmp_path / "made" / "simulator.json"

    write(FIGURES, file)

    assert json.loads(file.read_text()) == {
        "realtime_factor_b2b_8pods_60qps": 250.4,
        "wall_s_100pods_1000qps_600s": 700.0,
        "peak_rss_mb": 900.0,
        "b2b": {
            "precise-prefix": {"output_tokens_per_s": 8000.0, "ttft_p90_s": 0.5},
            "random": {"output_tokens_per_s": 4000.0, "ttft_p90_s": None},
        },
    }


def test_tables_show_what_is_asked_for_and_what_was_published() -> None:
    """Beside what was measured."""
    out = io.StringIO()

    show(FIGURES, Console(file=out, width=120))

    shown = out.getvalue()
    assert all(part in shown for part in ("250 x", ">= 200 x", "700 s", "<= 900 s", "900 MB"))
    assert all(part in shown for part in ("8,000", "8,730", "0.50", "0.54", "random"))


@pytest.mark.timeout(180)
def test_work_is_alone_in_its_process() -> None:
    """Its memory is that process's."""
    pid, peak_mb = alone(os.getpid)

    assert pid != os.getpid()
    assert peak_mb > 1
