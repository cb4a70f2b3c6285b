"""The cells of a matrix."""

from pathlib import Path

import pytest

from farsight.errors import InvalidField
from sim.bench.matrix import Part, check, expand, read_parts
from sim.cells import CellKey

SHORT = Path(__file__).parents[3] / "sim" / "bench" / "short.yaml"


def test_every_load_meets_every_policy_and_seed() -> None:
    """All cells of a seed come before those of the next."""
    part = Part(workload="chat", policies=("load", "random"), rates=(4, 8), pods=2, seeds=2)

    keys = expand([part])

    assert [(key.seed, key.rate, key.policy) for key in keys] == [
        (seed, rate, policy)
        for seed in (1, 2)
        for rate in (4.0, 8.0)
        for policy in ("load", "random")
    ]


def test_seeds_of_several_workloads_alternate() -> None:
    """So that an interrupted matrix has something of each."""
    parts = [Part(workload=name, policies=("load",), seeds=2) for name in ("chat", "reasoning")]

    assert [(key.workload, key.seed) for key in expand(parts)] == [
        *(("chat", 1), ("reasoning", 1)),
        *(("chat", 2), ("reasoning", 2)),
    ]


def test_a_workload_stands_for_its_published_fleet_and_stages() -> None:
    """Unless it is told otherwise."""
    (key,) = expand([Part(workload="b2b-saas", policies=("load",), seeds=1)])

    assert key == CellKey("b2b-saas", "load", 8, None, None, 1)


@pytest.mark.parametrize(
    ("workload", "first"),
    [
        ("chat", CellKey("chat", "load", 8, 5, None, 1)),
        ("reasoning", CellKey("reasoning", "load", 10, None, 50, 1)),
    ],
)
def test_a_ladder_turns_the_knob_of_its_workload(workload: str, first: CellKey) -> None:
    """Requests a second, or users."""
    keys = expand([Part(workload=workload, policies=("load",), ladder=True, seeds=1)])

    assert keys[0] == first
    assert len(keys) > 3


def test_settings_are_part_of_a_cell() -> None:
    """In one spelling, however they were given."""
    parts = [
        Part(workload="chat", policies=("load",), seeds=1, settings={"duration_s": given})
        for given in (5, "5.0")
    ]

    (key,) = expand(parts)

    assert key.settings == (("duration_s", "5.0"),)


def test_loads_that_contradict_each_other() -> None:
    """A cell has one load."""
    with pytest.raises(InvalidField, match="one of rate, concurrency and ladder"):
        expand([Part(workload="chat", rates=(4,), ladder=True)])


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Part(workload="chat", policies=("load", "dance")), r"policy: expected one of \['aff"),
        (Part(workload="chat", concurrency=(3,)), "workload chat: concurrency: expected it unset"),
        (Part(workload="mooncake"), "workload mooncake: trace: expected a Mooncake file"),
        (Part(workload="chat", pods=2, settings={"faults": "die:2:1:1"}), "pods 0 to 1"),
        (Part(workload="chat", settings={"hardware": "abacus"}), r"hardware: expected one of \['"),
    ],
)
def test_cells_are_checked_before_they_run(part: Part, message: str) -> None:
    """What is wrong is named, with what there is instead."""
    with pytest.raises(InvalidField, match=message):
        check(expand([part]))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Part(workload="nosuch"), "workload 'nosuch': expected one of azure, b2b-saas"),
        (Part(workload="chat", settings={"nosuch": 1}), r"setting nosuch: expected one of \['ann"),
    ],
)
def test_unknown_names(part: Part, message: str) -> None:
    """They make no cell."""
    with pytest.raises(InvalidField, match=message):
        expand([part])


def test_the_short_matrix_can_run() -> None:
    """It is checked in, so it has to stay right."""
    keys = expand(read_parts(SHORT))

    check(keys)
    assert {key.seed for key in keys} == {1, 2, 3}
    assert len({key.workload for key in keys}) == 3
    assert len({key.rate for key in keys if key.workload == "b2b-saas"}) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {workload: chat, sedes: 3}", "0.sedes: expected a list of parts: Extra"),
        ("workload: chat", "the file: expected a list of parts"),
        ("- [", "expected YAML: "),
    ],
)
def test_a_file_that_is_no_matrix(tmp_path: Path, text: str, message: str) -> None:
    """The file and the place in it are named."""
    file = tmp_path / "matrix.yaml"
    file.write_text(text)

    with pytest.raises(InvalidField, match=message) as caught:
        read_parts(file)

    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
