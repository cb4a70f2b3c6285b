"""The plots of a section."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from sim.cells import CellResult
from sim.figures import Figures, Latency
from sim.report.palette import looks
from sim.report.panels import PANELS
from sim.report.plots import section_svg
from sim.report.sections import sections_of
from tests.fakes.cell_results import cell, figures, ladder_cell

LADDER = {10.0: 0.2, 20.0: 0.4, 30.0: 8.0}


def drawn(*cells: CellResult, name: str = "s1") -> str:
    """The plots of their only section."""
    (section,) = sections_of(cells)
    return section_svg(section, looks(c.key.policy for c in cells), name)


def three_seeds(policy: str) -> list[CellResult]:
    """A ladder whose seeds differ."""
    return [
        ladder_cell(policy, seed, {rate: ttft_s * seed for rate, ttft_s in LADDER.items()})
        for seed in (1, 2, 3)
    ]


def test_every_policy_is_a_line_with_a_band_in_each_plot() -> None:
    """In its colour, and once more in the legend."""
    svg = drawn(*three_seeds("farsight"), *three_seeds("random"))

    found = looks(["farsight", "random"])
    for policy in ("farsight", "random"):
        colour = found[policy].colour
        assert svg.count(f"fill: none; stroke: {colour}") == len(PANELS) + 1
        assert svg.count(f"fill: {colour}; fill-opacity") == len(PANELS)


def test_a_single_load_is_a_dot_with_a_bar() -> None:
    """A line needs two points."""
    cells = [cell("farsight", seed=s, overall=figures(0.2 * s, per_s=s)) for s in (1, 2)]

    svg = drawn(*cells)

    assert "fill-opacity" not in svg
    assert svg.count('id="s1-LineCollection') == len(PANELS)


def test_a_higher_figure_is_higher_up() -> None:
    """Points of the first plot, TTFT p50, from left to right: y grows downwards."""
    svg = drawn(ladder_cell("farsight", 1, LADDER))

    colour = looks(["farsight"])["farsight"].colour
    line = re.search(rf'<path d="([^"]*)"[^>]*fill: none; stroke: {colour}', svg)
    assert line is not None
    heights = [float(point.split()[1]) for point in re.findall(r"[ML] ([\d. ]+)", line[1])]
    assert len(heights) == 3
    assert heights == sorted(heights, reverse=True)


UNKNOWN = replace(
    figures(success_share=0.0), ttft=Latency(), ntpot=Latency(), cached_token_share=None
)


@pytest.mark.parametrize("loads", [(10.0,), (10.0, 20.0)])
@pytest.mark.parametrize("overall", [UNKNOWN, figures(0.0), replace(figures(), goodput_per_s=0.0)])
def test_what_has_no_place_on_an_axis_is_left_out(
    overall: Figures, loads: tuple[float, ...]
) -> None:
    """Nothing completed, a latency of 0 on a log axis, and nothing in SLO."""
    svg = drawn(*[cell(rate=load, overall=overall) for load in loads])

    assert "nan" not in re.sub(r"[^=]*aria-label", "", svg).lower()


def test_equal_sections_give_equal_bytes() -> None:
    """Whatever order the cells come in."""
    cells = [*three_seeds("farsight"), *three_seeds("oracle")]

    assert drawn(*cells) == drawn(*reversed(cells))


def test_plots_of_one_page_share_no_id() -> None:
    """Every reference is to an id of the same plot."""
    first, second = (drawn(*three_seeds("farsight"), name=name) for name in ("s1", "s2"))

    ids = [set(re.findall(r'\bid="([^"]*)"', svg)) for svg in (first, second)]
    assert not ids[0] & ids[1]
    for svg, own in zip((first, second), ids, strict=True):
        assert set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', svg)) <= {
            reference for name in own for reference in ((name, ""), ("", name))
        }


def test_a_title_cannot_break_out_of_the_page() -> None:
    """Names come from files that somebody else may have written."""
    svg = drawn(cell(workload='"><script>alert(1)</script>', policy="$\\frac{$"))

    assert "<script>" not in svg
    ET.fromstring(svg)
