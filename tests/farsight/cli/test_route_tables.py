"""An explained decision on terminals of several widths."""

import pytest

from farsight.cli.route_explanation import explain
from farsight.cli.route_tables import CHOSEN, render
from tests.farsight.cli.decisions import decision
from tests.farsight.cli.shown import CUT, shown


def row(page: str, number: int, endpoint_id: str) -> str:
    """The endpoint's row in the first (0) or second (1) table."""
    rows = [line for line in page.splitlines() if endpoint_id in line.split()[:2]]
    return [line for line in rows if "http" not in line and "then" not in line][number]


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_every_figure_on_one_line(columns: int) -> None:
    """Nothing is cut or folded from 80 columns on."""
    page = shown(render(explain(decision(), "127.0.0.1:50051")), columns)

    assert CUT not in page
    assert row(page, 0, "e0").split() == [
        *(CHOSEN, "e0", "exact", "140", "ms", "85", "ms"),
        *("131,072", "65,536", "32,768", "131,072", "12", "98,304"),
    ]
    assert row(page, 1, "e0").split() == [
        *(CHOSEN, "e0", "41.2", "1,263", "9.3", "12.5", "0.710", "0.930", "10.010")
    ]


@pytest.mark.parametrize("columns", [80, 120])
def test_prompts_on_their_way_have_a_column_where_there_are_any(columns: int) -> None:
    """Of the cached tokens; without any there is no column."""
    reply = decision()
    without = shown(render(explain(reply, "127.0.0.1:50051")), columns)
    reply.candidates[0].speculative_tokens = 65_536
    page = shown(render(explain(reply, "127.0.0.1:50051")), columns)

    assert "on its" not in without
    assert "on its" in page
    assert CUT not in page
    assert row(page, 0, "e0").split()[-4:] == ["131,072", "65,536", "12", "98,304"]
    assert row(page, 0, "e1").split()[-4:] == ["0"] * 4


def test_filtered_candidate() -> None:
    """A candidate that a filter dropped has no scores, and names the filter."""
    page = shown(render(explain(decision(), "127.0.0.1:50051")))

    assert row(page, 1, "e1").split()[-4:] == ["-", "-", "-", "available"]
    assert "never" in row(page, 0, "e1")


def test_summary() -> None:
    """Choice, reason, fallbacks and time stand above the tables."""
    page = shown(render(explain(decision(), "127.0.0.1:50051")))

    for text in (
        "e0  http://10.244.13.107:8000",
        "best total, no near tie",
        "2,048 tokens, 1,536 of them cached (EXACT)",
        "analytic model",
        "predictor-timeout",
        "3.21 ms by router 127.0.0.1:50051",
    ):
        assert text in page
