"""Which cells are compared with which."""

from dataclasses import replace

from sim.cells import StageFigures
from sim.figures import Latency
from sim.report.sections import Axis, figures_at, overall_by_seed, sections_of
from tests.fakes.cell_results import cell, figures, ladder_cell


def test_cells_that_differ_by_policy_load_and_seed_are_one_section() -> None:
    """Every policy is a run with its own cells."""
    cells = [
        cell(policy, seed=seed, rate=rate)
        for policy in ("random", "farsight")
        for seed in (2, 1)
        for rate in (20.0, 10.0)
    ]

    (section,) = sections_of(cells)

    assert section.title == "b2b-saas, 8 pods"
    assert (section.loads, section.seeds) == ((10.0, 20.0), (1, 2))
    assert [(run.policy, len(run.cells)) for run in section.runs] == [
        ("farsight", 4),
        ("random", 4),
    ]
    assert not any(run.has_gaps for run in section.runs)


def test_what_cannot_be_compared_is_apart() -> None:
    """Other workloads, pods, settings and kinds of load."""
    cells = [
        cell(),
        cell(workload="A"),
        cell(pods=16),
        cell(settings=(("reports", "late"),)),
        cell(rate=None, concurrency=10),
        ladder_cell("random", 1, {10.0: 0.2, 20.0: 0.2}),
    ]

    sections = sections_of(reversed(cells))

    assert [section.title for section in sections] == [
        "A, 8 pods",
        "b2b-saas, 16 pods",
        *["b2b-saas, 8 pods"] * 3,
        "b2b-saas, 8 pods, reports=late",
    ]
    assert {section.axis for section in sections} == set(Axis)


def test_policies_stand_by_ttft() -> None:
    """One that completed nothing is last."""
    cells = [
        cell("slow", overall=figures(5.0)),
        cell("nothing", overall=replace(figures(success_share=0.0), ttft=Latency())),
        cell("fast", overall=figures(0.1)),
    ]

    (section,) = sections_of(cells)

    assert [run.policy for run in section.runs] == ["fast", "slow", "nothing"]


def test_a_policy_with_fewer_cells_has_gaps() -> None:
    """A cell of it failed: its means are over other loads than those of the others."""
    cells = [cell("random", rate=10.0), cell("random", rate=60.0), cell("farsight", rate=10.0)]

    (section,) = sections_of(cells)

    assert {run.policy: run.has_gaps for run in section.runs} == {"farsight": True, "random": False}


def test_stages_are_loads() -> None:
    """Two stages of a seed at one rate are both there, a closed loop's stage is no load."""
    first, again, other = figures(0.2), figures(0.4), figures(0.9)
    offered = [(5.0, first), (1.0, other), (5.0, again), (0.0, other)]
    staged = cell(rate=None, stages=tuple(StageFigures(f"{r}/s", r, f) for r, f in offered))

    (section,) = sections_of([staged])

    assert section.loads == (1.0, 5.0)
    assert figures_at(section.runs[0], 5.0) == {1: [first, again]}
    assert overall_by_seed(section.runs[0]) == {1: [staged.overall]}
