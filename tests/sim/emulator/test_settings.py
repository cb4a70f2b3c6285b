"""Settings that cannot work are refused with the field's name."""

from dataclasses import replace
from typing import Any

import pytest

from farsight.errors import InvalidField
from sim.emulator.settings import EmulatorSettings
from tests.sim.emulator.running import SPEC


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("pods", {"pods": 0}),
        ("pods", {"pods": 1001}),
        ("speed", {"speed": 0.0}),
        ("speed", {"speed": float("nan")}),
        ("output_tokens", {"output_tokens": 0}),
        ("drain_s", {"drain_s": -1.0}),
        ("max_model_tokens", {"max_model_tokens": 641}),
        ("model", {"model": ""}),
        ("lora", {"loras": ("a", "a")}),
        ("lora", {"loras": ("emulated",)}),
        ("base_port", {"base_port": 65_535, "pods": 2}),
        ("base_port", {"base_port": -5}),
        ("events_base_port", {"base_port": 8000, "events_base_port": 8001, "pods": 2}),
        ("replay_base_port", {"events_base_port": 8000, "replay_base_port": 8000}),
    ],
)
def test_bad_settings_name_their_field(field: str, fields: dict[str, Any]) -> None:
    """Counts, factors, names and ports."""
    with pytest.raises(InvalidField) as error:
        EmulatorSettings(SPEC, **fields)

    assert error.value.field == field


def test_neighbouring_port_ranges_are_fine() -> None:
    """Two pods take two ports of each range."""
    EmulatorSettings(SPEC, pods=2, base_port=8000, events_base_port=8002, replay_base_port=8004)


@pytest.mark.parametrize(("kv_tokens", "limit"), [(650, 640), (400_000, 131_072)])
def test_a_sequence_can_fill_the_cache(kv_tokens: int, limit: int) -> None:
    """The longest sequence is bounded by whole blocks, and by what models have."""
    assert EmulatorSettings(replace(SPEC, kv_tokens=kv_tokens)).limit_tokens == limit
    assert EmulatorSettings(SPEC, max_model_tokens=100).limit_tokens == 100
