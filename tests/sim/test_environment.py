"""What may be wrong with an environment."""

from dataclasses import fields
from math import inf, nan

import pytest

from farsight.errors import InvalidField
from sim.environment import Environment, Fault

TIMES = [f.name for f in fields(Environment) if "_s" in f.name]
SHARES = ["delta_loss", "delta_reorder", "report_loss"]


@pytest.mark.parametrize("value", [-1e-9, inf, nan])
@pytest.mark.parametrize("name", TIMES)
def test_times_are_finite_and_not_negative(name: str, value: float) -> None:
    """Else virtual time would go back, or never come."""
    with pytest.raises(InvalidField) as refusal:
        Environment(**{name: value})  # type: ignore[arg-type] # by name

    assert refusal.value.field == name


@pytest.mark.parametrize("value", [-0.01, 1.01, nan])
@pytest.mark.parametrize("name", SHARES)
def test_shares_are_from_0_to_1(name: str, value: float) -> None:
    """Both ends are possible."""
    with pytest.raises(InvalidField) as refusal:
        Environment(**{name: value})  # type: ignore[arg-type] # by name

    assert refusal.value.field == name
    assert Environment(**{name: 1.0}) != Environment(**{name: 0.0})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["load_interval_s", "announce_interval_s"])
def test_what_happens_again_and_again_takes_time_in_between(name: str) -> None:
    """An interval of 0 would stop the clock."""
    with pytest.raises(InvalidField) as refusal:
        Environment(**{name: 0.0})  # type: ignore[arg-type] # by name

    assert refusal.value.field == name


def test_there_is_a_router() -> None:
    """At least one."""
    with pytest.raises(InvalidField) as refusal:
        Environment(routers=0)

    assert refusal.value.field == "routers"


@pytest.mark.parametrize(
    "values",
    [("burn", 0, 1.0, 1.0), ("die", -1, 1.0, 1.0), ("die", 0, -1.0, 1.0), ("die", 0, 1.0, inf),
     ("slow", 0, 1.0, 1.0, 0.0), ("slow", 0, nan, 1.0)],
)  # fmt: skip
def test_a_fault_is_of_a_known_kind_and_passes(values: tuple[object, ...]) -> None:
    """It happens to a pod at a time."""
    with pytest.raises(InvalidField) as refusal:
        Fault(*values)  # type: ignore[arg-type] # wrong on purpose

    assert refusal.value.field == "faults"
