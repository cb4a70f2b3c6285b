"""The tables as JSON."""

import json
from pathlib import Path

from sim.bench.summary_json import write_summary
from tests.fakes.cell_results import cell, figures


def test_figures_have_names_with_units_and_intervals(tmp_path: Path) -> None:
    """Over all loads and at each of them; what is not known is left out."""
    file = tmp_path / "made" / "summary.json"
    cells = [
        cell(policy, seed=seed, rate=rate, overall=figures(ttft_s, per_s=rate))
        for policy, ttft_s in (("oracle", 0.1), ("load", 0.3))
        for seed in (1, 2)
        for rate in (10.0, 20.0)
    ]

    write_summary(cells, file)

    (section,) = json.loads(file.read_text())["sections"]
    load = section["policies"]["load"]
    assert (section["workload"], section["pods"], section["seeds"]) == ("b2b-saas", 8, [1, 2])
    assert load["ttft_p90_s"] == {"mean": 0.6, "half_width": 0.0}
    assert load["throughput_output_tokens_per_s"]["mean"] == 1500.0
    assert round(load["regret_ttft_of_oracle"]["mean"], 6) == 3.0
    assert section["by_load"]["20"]["load"]["throughput_output_tokens_per_s"]["mean"] == 2000.0


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    """Its spread is unknown, not zero."""
    file = tmp_path / "summary.json"

    write_summary([cell("load")], file)

    (section,) = json.loads(file.read_text())["sections"]
    assert section["policies"]["load"]["ttft_p90_s"]["half_width"] is None
    assert "regret_ttft_of_oracle" not in section["policies"]["load"]
