"""What the options of the command line come to."""

from pathlib import Path

import pytest

from farsight.errors import InvalidField
from sim.bench.matrix import DEFAULT_POLICIES
from sim.bench.selection import Selection


def test_nothing_but_a_workload() -> None:
    """The default policies, its own stages, three seeds."""
    (part,) = Selection(["chat"]).parts()

    assert (part.workload, part.policies, part.seeds) == ("chat", DEFAULT_POLICIES, 3)
    assert (part.rates, part.concurrency, part.ladder, part.pods) == ((), (), False, None)


@pytest.mark.parametrize(
    ("policies", "oracle", "expected"),
    [
        (["load"], True, ("oracle", "load")),
        (["load"], False, ("load",)),
        (["load", "load", "oracle"], True, ("oracle", "load")),
        (["oracle"], False, ("oracle",)),
        (None, False, DEFAULT_POLICIES[1:]),
    ],
)
def test_policies(policies: list[str] | None, oracle: bool, expected: tuple[str, ...]) -> None:
    """The oracle runs beside those asked for, unless it is unwanted."""
    (part,) = Selection(["chat"], policies, oracle=oracle).parts()

    assert part.policies == expected


def test_lists_may_be_repeated_or_have_commas() -> None:
    """Also both."""
    (part,) = Selection(["chat"], rates=["4,8.5", "20"]).parts()

    assert part.rates == (4, 8.5, 20)


def test_settings_with_and_without_an_option() -> None:
    """They are one set."""
    named = (("duration_s", 5.0), ("trace", None), ("scale", None))

    (part,) = Selection(["chat"], settings=["delta_loss=0.01"], named_settings=named).parts()

    assert part.settings == {"delta_loss": "0.01", "duration_s": 5.0}


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(), "--workload: expected at least one of azure, b2b-saas"),
        (Selection(["chat"], rates=["4,x"]), "--rate: expected numbers"),
        (Selection(["chat"], concurrency=["4.5"]), "--concurrency: expected whole numbers"),
        (Selection(["chat"], settings=["delta_loss"]), "--set: expected name=value"),
        (Selection(["chat"], settings=["=1"]), "--set: expected name=value"),
        (Selection(["chat"], settings=["a=1", "a=2"]), "setting a: expected to be given once"),
        (
            Selection(["chat"], settings=["scale=1"], named_settings=(("scale", 2.0),)),
            "setting scale: expected to be given once",
        ),
    ],
)
def test_bad_options(selection: Selection, message: str) -> None:
    """The option is named."""
    with pytest.raises(InvalidField, match=message):
        selection.parts()


@pytest.mark.parametrize(
    "selection",
    [
        Selection(["chat"]),
        Selection(seeds=1),
        Selection(ladder=True),
        Selection(oracle=False),
        Selection(named_settings=(("scale", 0.0),)),
    ],
)
def test_a_matrix_stands_alone(tmp_path: Path, selection: Selection) -> None:
    """What it says would otherwise be unclear."""
    with pytest.raises(InvalidField, match="--matrix: expected no other choice"):
        selection.parts(tmp_path / "matrix.yaml")


def test_a_matrix_says_it_all(tmp_path: Path) -> None:
    """In the words of the options."""
    file = tmp_path / "matrix.yaml"
    file.write_text("- {workload: chat, policies: [load], rates: [4], seeds: 1, pods: 2}")

    (part,) = Selection().parts(file)

    assert (part.workload, part.policies, part.rates, part.pods) == ("chat", ("load",), (4,), 2)
