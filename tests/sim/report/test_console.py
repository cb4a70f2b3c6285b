"""The summary for a terminal."""

import io

from rich.console import Console

from sim.cells import CellResult
from sim.report.console import summary_table
from tests.fakes.cell_results import cell, figures


def shown(*cells: CellResult) -> str:
    """What stands in a terminal of 120 columns."""
    out = io.StringIO()
    Console(width=120, file=out).print(summary_table(cells))
    return out.getvalue()


def test_every_policy_of_every_workload_has_a_line() -> None:
    """Below the name of its workload."""
    cells = [
        cell(policy, workload=name) for name in ("A", "B") for policy in ("farsight", "random")
    ]

    lines = [line.split() for line in shown(*cells).splitlines()]

    firsts = [line[0] for line in lines if line]
    assert firsts[firsts.index("A,") :] == [
        *("A,", "farsight", "random"),
        *("B,", "farsight", "random"),
    ]


def test_figures_stand_with_their_spread_and_are_never_cut() -> None:
    """Large ones, over two seeds, with the oracle's regret and a policy that has gaps."""
    cells = [
        cell("a-policy-with-a-long-name", seed=seed, rate=rate, overall=figures(ttft_s, per_s=9e3))
        for seed, ttft_s in ((1, 90.0), (2, 130.0))
        for rate in (10.0, 20.0)
    ]

    text = shown(*cells, cell("oracle"))

    assert "900,000" in text
    assert "±508" in text
    assert "oracle *" in text
    assert "…" not in text


def test_no_cell_makes_an_empty_table() -> None:
    """Rather than an error."""
    assert "policy" in shown()
