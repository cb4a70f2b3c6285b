"""Settings of a cell: what travels, what is refused and under which name."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farsight.errors import InvalidField
from sim.cell_settings import CellSettings, parse_faults, parse_mix
from sim.environment import Environment, Fault

H100 = "qwen3-32b-2xh100"


@pytest.mark.parametrize(
    ("given_values", "named"),
    [
        ({"colour": "red"}, "colour"),
        ({"duration_s": "long"}, "duration_s"),
        ({"duration_s": 0}, "duration_s"),
        ({"scale": -1}, "scale"),
        ({"slo_ttft_ms": 0}, "slo_ttft_ms"),
        ({"slo_tpot_ms": "x"}, "slo_tpot_ms"),
        ({"storage": "perhaps"}, "storage"),
        ({"routers": 0}, "routers"),
        ({"routers": 1.5}, "routers"),
        ({"routers": "nan"}, "routers"),
        ({"routers": "two"}, "routers"),
        ({"delta_loss": 1.1}, "delta_loss"),
        ({"report_loss": -0.1}, "report_loss"),
        ({"delta_reorder": "nan"}, "delta_reorder"),
        ({"load_interval_s": 0}, "load_interval_s"),
        ({"announce_interval_s": -1}, "announce_interval_s"),
        ({"delta_delay_s": -0.001}, "delta_delay_s"),
        ({"lease_ttl_s": "inf"}, "lease_ttl_s"),
        ({"environment": {"colour": 1.0}}, "environment"),
        ({"faults": "burn:0:1:2"}, "faults"),
        ({"faults": "die:0:1"}, "faults"),
        ({"faults": "die"}, "faults"),
        ({"faults": "die:0:1:2:3:4"}, "faults"),
        ({"faults": "slow:0:1:2:0"}, "faults"),
        ({"faults": "slow:1.5:1:2"}, "faults"),
        ({"faults": "slow:-1:1:2"}, "faults"),
        ({"faults": "hang:0:nan:2"}, "faults"),
        ({"faults": "hang:0:1:-2"}, "faults"),
        ({"faults": "hang:0:1:inf"}, "faults"),
        ({"faults": "hang:0:1:2 die:0:1:2"}, "faults"),
    ],
)
def test_a_bad_value_is_refused_by_its_name(given_values: dict[str, Any], named: str) -> None:
    """And with what was expected."""
    with pytest.raises(InvalidField) as refusal:
        CellSettings.parse(given_values)

    assert named in refusal.value.field
    assert refusal.value.expected


def test_an_unknown_setting_is_refused_with_those_that_there_are() -> None:
    """Fields of the environment are settings like the others."""
    with pytest.raises(InvalidField, match=r"'delta_loss'.*'faults'.*'hardware'.*'routers'"):
        CellSettings.parse({"hardwear": H100})


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "hardware": st.sampled_from([H100, f"{H100}*2,h100-1*1"]),
            "storage": st.booleans(),
            "duration_s": st.floats(0.1, 1e6),
            "trace": st.just("some/trace.jsonl"),
            "scale": st.floats(0.1, 10),
            "slo_ttft_ms": st.floats(1, 1e5),
            "faults": st.sampled_from(["", "slow:0:1:2:3", "die:1:5:2.5, hang:0:1e1:2"]),
            "routers": st.integers(1, 9),
            "delta_loss": st.floats(0, 1),
            "load_interval_s": st.floats(1e-3, 10),
        },
    )
)
def test_settings_survive_their_way_as_text(values: dict[str, Any]) -> None:
    """What differs from the defaults is named once, and the other end has the same settings."""
    made = CellSettings.parse(values)

    pairs = made.as_pairs()

    assert all(isinstance(value, str) for _, value in pairs)
    assert [name for name, _ in pairs] == sorted({name for name, _ in pairs})
    assert CellSettings.parse(dict(pairs)) == made


def test_defaults_need_no_words() -> None:
    """A cell without settings has none in its key."""
    assert CellSettings.parse({}).as_pairs() == ()
    assert CellSettings.parse({"storage": "true", "scale": "1"}).as_pairs() == ()


def test_every_field_of_the_environment_can_be_set() -> None:
    """By its own name; the rest stays as it is."""
    for field in fields(Environment):
        if field.name == "faults":
            continue
        value: Any = 2 if field.name == "routers" else 0.5
        made = CellSettings.parse({field.name: str(value)}).make_environment()

        assert made == Environment(**{field.name: value})


def test_fields_of_the_environment_may_be_given_together_and_alone() -> None:
    """None of them is lost; one's own name goes first."""
    made = CellSettings.parse({"environment": {"routers": 2, "delta_loss": 0.1}, "delta_loss": 0.2})

    assert made.make_environment() == Environment(routers=2, delta_loss=0.2)


def test_faults_are_read_from_text() -> None:
    """Each with its own factor, or the default one."""
    assert parse_faults("slow:2:10:5:3, die:0:1.5:30,hang:1:0:2") == (
        Fault("slow", 2, 10.0, 5.0, 3.0),
        Fault("die", 0, 1.5, 30.0),
        Fault("hang", 1, 0.0, 2.0),
    )
    assert parse_faults("") == ()
    assert CellSettings.parse({"faults": "hang:1:0:2"}).make_environment().faults == (
        Fault("hang", 1, 0.0, 2.0),
    )


def test_a_mix_of_hardware_gives_each_pod_its_own() -> None:
    """In the order of the text."""
    assert parse_mix("a", 3) == ["a", "a", "a"]
    assert parse_mix("a*2, b*1", 3) == ["a", "a", "b"]
    assert parse_mix("a*3", 3) == ["a", "a", "a"]


@pytest.mark.parametrize("text", ["a*2,b*2", "a*x,b*1", "a,b", "a*-1,b*4", "a*", "a*1.5,b*1.5"])
def test_a_mix_has_to_make_the_fleet(text: str) -> None:
    """Counts are whole and add up to the pods."""
    with pytest.raises(InvalidField) as refusal:
        parse_mix(text, 3)

    assert refusal.value.field == "setting hardware"


def test_a_fleet_is_the_workloads_unless_told() -> None:
    """With its shared storage, unless that is turned off."""
    own, none = CellSettings.parse({}).make_fleet(H100, 2)
    other, storage = CellSettings.parse({"hardware": "llama-8b-2xh100"}).make_fleet(H100, 2)
    off = CellSettings.parse({"hardware": "llama-8b-2xh100", "storage": "false"})
    mixed, _ = CellSettings.parse({"hardware": f"{H100}*1,h100-1*1"}).make_fleet(H100, 2)

    assert len(own) == 2
    assert own[0] == own[1] != other[0]
    assert none is None
    assert storage is not None
    assert off.make_fleet(H100, 2)[1] is None
    assert mixed[0] != mixed[1]


def test_unknown_hardware_is_refused_with_what_there_is() -> None:
    """Before anything runs."""
    with pytest.raises(InvalidField, match="qwen3-32b-2xh100") as refusal:
        CellSettings.parse({"hardware": "abacus"}).make_fleet(H100, 2)

    assert "hardware" in refusal.value.field


def test_a_trace_is_a_path() -> None:
    """As the workload opens it."""
    assert CellSettings.parse({"trace": "x/y.csv"}).trace == Path("x/y.csv")
