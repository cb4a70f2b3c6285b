"""Sizes that no engine can have are refused by name."""

from dataclasses import replace
from typing import Any

import pytest

from farsight.errors import InvalidField
from sim.engine.engines import Engines
from sim.engine.spec import StepRates, TierSpec
from tests.sim.engine.given import RATES, spec

GOOD = spec(blocks=16)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"block_tokens": 24}, "block_tokens"),
        ({"block_tokens": 0}, "block_tokens"),
        ({"block_tokens": -16}, "block_tokens"),
        ({"max_sequences": 0}, "max_sequences"),
        ({"max_sequences": 5000, "max_batched_tokens": 9000}, "max_sequences"),
        ({"kv_tokens": 15}, "kv_tokens"),
        ({"max_batched_tokens": 255}, "max_batched_tokens"),
        ({"max_loras": -1}, "max_loras"),
        ({"host": TierSpec(15, 0.0)}, "host"),
    ],
)
def test_an_impossible_size_is_named(changes: dict[str, Any], field: str) -> None:
    """With what it has to be."""
    with pytest.raises(InvalidField) as refused:
        replace(GOOD, **changes)

    assert refused.value.field == field


@pytest.mark.parametrize("value", [-1e-9, float("nan")])
@pytest.mark.parametrize("name", StepRates.__dataclass_fields__)
def test_a_rate_is_not_negative(name: str, value: float) -> None:
    """Time would go back."""
    with pytest.raises(InvalidField, match=name):
        replace(RATES, **{name: value})


def test_sizes_follow_from_the_tokens() -> None:
    """What does not fill a block is not used."""
    engine = replace(GOOD, kv_tokens=1000, block_tokens=48)

    assert engine.blocks == 20
    assert engine.keys_per_block == 3


def test_engines_that_share_a_storage_have_one_block_size() -> None:
    """Others may differ."""
    shared = [replace(GOOD, block_tokens=size, mounts_storage=True) for size in (16, 32)]

    with pytest.raises(InvalidField, match="block_tokens"):
        Engines(shared, storage=TierSpec(4096, 0.0))

    assert len(Engines(shared)) == 2


def test_a_storage_without_room_for_a_block_is_refused() -> None:
    """Nothing could be written to it."""
    with pytest.raises(InvalidField, match="storage"):
        Engines([replace(GOOD, mounts_storage=True)], storage=TierSpec(15, 0.0))
