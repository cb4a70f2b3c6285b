"""The table of a section."""

from dataclasses import replace

import pytest

from sim.cells import CellResult
from sim.intervals import Interval
from sim.report.columns import OUTPUT_RATE, TTFT_P90
from sim.report.sections import Section, sections_of
from sim.report.summary import Entry, Table, at_load, over_seeds, summary
from tests.fakes.cell_results import cell, figures, ladder_cell


def section_of(*cells: CellResult) -> Section:
    """Their only section."""
    (section,) = sections_of(cells)
    return section


def entry(table: Table, policy: str, group: str, title: str) -> Entry:
    """One figure of one policy."""
    (row,) = [row for row in table.rows if row.policy == policy]
    (place,) = [i for i, c in enumerate(table.columns) if (c.group, c.title) == (group, title)]
    return row.entries[place]


def test_figures_are_in_the_unit_of_their_column() -> None:
    """TTFT p90 of 0.4 s, e2e p50 of 0.8 x 2.2 s over 100 tokens, a sixth not from caches."""
    table = summary(section_of(cell("random", rate=8.0, overall=figures(0.2, per_s=8.0))))

    shown = {
        (column.group, column.title, column.unit): found.mean
        for column, found in zip(table.columns, table.rows[0].entries, strict=True)
    }
    assert shown["throughput", "output", "tok/s"] == "800"
    assert shown["throughput", "input", "tok/s"] == "8,000"
    assert shown["TTFT", "p90", "s"] == "0.400"
    assert shown["TPOT", "p50", "ms"] == "16.0"
    assert shown["NTPOT", "p50", "ms"] == "17.6"
    assert shown["cached", "prompt", "%"] == "83.3"
    assert shown["goodput", "in SLO", "/s"] == "6.67"
    assert shown["success", "share", "%"] == "100"
    assert shown["waiting", "mean", "requests"] == "2.00"


def test_seeds_make_an_interval_of_their_means() -> None:
    """400 and 600 tok/s over their loads: 500, and t(0.975, 1) x 100 around it."""
    cells = [
        cell("random", seed=1, rate=2.0, overall=figures(per_s=2.0)),
        cell("random", seed=1, rate=6.0, overall=figures(per_s=6.0)),
        cell("random", seed=2, rate=2.0, overall=figures(per_s=2.0)),
        cell("random", seed=2, rate=6.0, overall=figures(per_s=10.0)),
    ]

    found = entry(summary(section_of(*cells)), "random", "throughput", "output")

    assert found.seen is not None
    assert found.seen.mean == pytest.approx(500)
    assert found.seen.half_width == pytest.approx(12.7062 * 100, rel=1e-5)
    assert (found.mean, found.spread) == ("500", "±1,271")


def test_what_no_seed_knows_is_not_shown() -> None:
    """A dash, without a spread."""
    unknown = replace(figures(), waiting_mean=None)

    found = entry(summary(section_of(cell(overall=unknown))), "least-requests", "waiting", "mean")

    assert (found.mean, found.spread) == ("–", "")  # noqa: RUF001 # the dash of a table
    assert over_seeds({1: [unknown], 2: [figures()]}, lambda f: f.waiting_mean) == Interval(2, None)


def test_regret_is_against_the_oracle_of_the_section() -> None:
    """Without an oracle there is none."""
    policy, oracle = cell("random", overall=figures(0.8)), cell("oracle", overall=figures(0.2))

    table = summary(section_of(policy, oracle))

    assert entry(table, "random", "regret", "TTFT").mean == "4.00"
    assert entry(table, "oracle", "regret", "TTFT").mean == "1.00"
    assert entry(summary(section_of(policy)), "random", "regret", "TTFT").seen is None


@pytest.mark.parametrize("as_stages", [True, False])
def test_the_knee_is_each_seeds_own(as_stages: bool) -> None:
    """TTFT p90 is twice the mean: one seed breaks at 30/s, the other holds to the end."""
    ladders = {1: {10.0: 0.2, 20.0: 0.2, 30.0: 9.0}, 2: {10.0: 0.2, 20.0: 0.2, 30.0: 0.2}}
    cells = [
        cell("random", seed=seed, rate=rate, overall=figures(ttft_s))
        for seed, ttfts_s in ladders.items()
        for rate, ttft_s in ttfts_s.items()
    ]
    if as_stages:
        cells = [ladder_cell("random", seed, ttfts_s) for seed, ttfts_s in ladders.items()]

    found = entry(summary(section_of(*cells)), "random", "knee", "load")

    assert found.seen is not None
    assert (found.seen.mean, found.is_at_least) == (25.0, True)
    assert found.mean == "≥ 25.0"


def test_the_best_and_what_cannot_be_told_from_it_are_marked() -> None:
    """Alike over seeds, clearly worse, and the oracle, which does not compete."""
    ttfts_s = {
        "oracle": (0.1, 0.1, 0.1),
        "best": (0.20, 0.22, 0.24),
        "alike": (0.21, 0.23, 0.25),
        "worse": (2.0, 2.1, 2.2),
    }
    cells = [
        cell(policy, seed=seed, overall=figures(ttft_s))
        for policy, of_seeds in ttfts_s.items()
        for seed, ttft_s in enumerate(of_seeds)
    ]

    table = summary(section_of(*cells))

    marked = {row.policy: entry(table, row.policy, "TTFT", "p90").is_best for row in table.rows}
    assert marked == {"oracle": False, "best": True, "alike": True, "worse": False}
    assert not any(entry(table, policy, "success", "share").is_best for policy in ttfts_s)


def test_the_best_end_is_that_of_the_column() -> None:
    """More tokens are better, more seconds are worse, and more cached tokens are neither."""
    fast = cell("fast", overall=figures(0.1, per_s=20.0))
    slow = cell("slow", overall=figures(0.9, per_s=10.0))

    table = summary(section_of(fast, slow))

    for group, title in (("throughput", "output"), ("TTFT", "p50"), ("goodput", "in SLO")):
        assert entry(table, "fast", group, title).is_best
        assert not entry(table, "slow", group, title).is_best
    assert not entry(table, "fast", "cached", "prompt").is_best


def test_a_load_has_its_own_table() -> None:
    """Of the policies that have been there."""
    section = section_of(
        ladder_cell("random", 1, {10.0: 0.2, 20.0: 3.0}), ladder_cell("farsight", 1, {10.0: 0.3})
    )

    low, high = at_load(section, 10.0), at_load(section, 20.0)

    assert {row.policy for row in low.rows} == {"random", "farsight"}
    assert [row.policy for row in high.rows] == ["random"]
    assert entry(high, "random", "TTFT", "p90").mean == "6.00"


@pytest.mark.parametrize(
    ("seen", "mean", "spread"),
    [
        (Interval(8730.4, 120.6), "8,730", "±121"),
        (Interval(93.46, 4.04), "93.5", "±4.0"),
        (Interval(0.5417, 0.0302), "0.542", "±0.030"),
        (Interval(1.0, None), "1.00", ""),
        (Interval(0.0, 0.0), "0.00", "±0.00"),
    ],
)
def test_figures_have_the_digits_that_say_something(seen: Interval, mean: str, spread: str) -> None:
    """Three of the mean, and the half-width to the same place."""
    assert (Entry(seen).mean, Entry(seen).spread) == (mean, spread)


def test_columns_read_what_they_say() -> None:
    """The two that the published tables report."""
    one = figures(0.5, per_s=3.0)

    assert TTFT_P90.value(one) == one.ttft.p90_s
    assert OUTPUT_RATE.value(one) == one.output_tokens_per_s
