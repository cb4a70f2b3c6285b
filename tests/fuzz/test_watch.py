"""The fuzzer finds what it is for."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import registry, rounds, watch
from tests.fuzz.mutation import bytes_changed, mutate
from tests.fuzz.program import MAX_STEPS, Step, decode, encode
from tests.fuzz.rounds import Finding, fuzz
from tests.fuzz.target import Target

STEPS = st.lists(st.builds(Step, st.integers(0, 255), st.binary(max_size=20)), max_size=MAX_STEPS)


def target_of(run: Callable[[bytes], None]) -> Target:
    """A target that starts from one step."""
    seed = encode([Step(1, b"abc")])
    return Target("own", [seed], run, lambda step, rng: bytes_changed(step.payload, rng))


def test_an_error_is_a_finding(tmp_path: Path) -> None:
    """The input that raised it is kept, and raises it again."""

    def run(data: bytes) -> None:
        if len(data) > 8:
            raise ValueError("too long for me")

    with pytest.raises(Finding, match="too long for me") as found:
        fuzz(target_of(run), 5, 1, tmp_path)

    assert found.value.path is not None
    with pytest.raises(ValueError, match="too long for me"):
        run(found.value.path.read_bytes())


def test_a_hang_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told in processor time, so that a busy machine makes none."""
    monkeypatch.setattr(watch, "HANG_CPU_S", 0.1)

    def run(data: bytes) -> None:
        while len(data) > 8:
            pass

    with pytest.raises(Finding, match="Hang"):
        fuzz(target_of(run), 10, 1, tmp_path)


def test_a_leak_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is compared after the first part of the run and at its end."""
    monkeypatch.setattr(rounds, "MAX_GROWTH_BYTES", 8 << 20)
    leaked = []

    def run(data: bytes) -> None:
        leaked.append(bytearray(len(data) * 100))

    with pytest.raises(Finding, match="memory grew"):
        fuzz(target_of(run), 1.5, 1, tmp_path)


@given(STEPS)
def test_a_program_is_bytes_and_back(steps: list[Step]) -> None:
    """Steps travel as they are."""
    assert decode(encode(steps)) == steps


@given(st.binary(max_size=200))
def test_any_bytes_are_a_program(data: bytes) -> None:
    """What is cut short is taken as it is."""
    steps = decode(data)

    assert decode(encode(steps)) == steps


@pytest.mark.parametrize("name", registry.TARGETS)
def test_a_target_takes_its_seeds(name: str) -> None:
    """Valid inputs break nothing, and a change leaves a program."""
    target = registry.load(name)

    for seed in target.seeds:
        target.run(seed)
        assert decode(mutate(seed, target.seeds, target, Random(1)))
