"""Modelled hardware against the published figures that it comes from."""

import pytest

from farsight.errors import InvalidField
from sim.engine.engines import Engines
from sim.engine.spec import EngineSpec
from sim.hardware import HARDWARE, hardware, shared_storage
from sim.workload import load_workload, workload_names
from tests.sim.engine.given import prompt


def took_s(spec: EngineSpec, prompt_tokens: int, output_tokens: int = 1) -> tuple[float, float]:
    """Time to the first token and to the end of one request on an idle engine."""
    engines = Engines([spec])
    asked = prompt(1, prompt_tokens, output_tokens)
    engines.submit(0, asked.keys, asked.prompt_tokens, asked.output_tokens, 0.0)
    times = list[float]()
    while len(times) < 2:
        engines.advance(1e6)
        times += [event.time_s for event in engines.take_events()]
        engines.clear_events()
    return times[0], times[1]


def test_the_calibrated_pod_takes_what_was_measured_for_a_chunk() -> None:
    """0.40 s for 8,192 tokens, the peak of 20,480 tokens/s, and 11 ms a token at light load."""
    spec = hardware("qwen3-32b-2xh100")
    ttft_s, _ = took_s(spec, 8192)
    first_s, end_s = took_s(spec, 100, 101)

    assert ttft_s == pytest.approx(0.40, rel=1e-6)
    assert 8192 / ttft_s == pytest.approx(20_480, rel=1e-6)
    assert (end_s - first_s) / 100 == pytest.approx(0.011, rel=0.02)
    assert spec.kv_tokens == 307_328


def test_a_long_prompt_takes_more_than_its_share_of_chunks() -> None:
    """Attention grows with the square of the prompt."""
    spec = hardware("qwen3-32b-2xh100")
    one_s, _ = took_s(spec, 8192)
    eight_s, _ = took_s(spec, 8 * 8192)

    assert 8 * one_s < eight_s < 20 * one_s


@pytest.mark.parametrize("name", sorted(HARDWARE))
def test_every_engine_serves(name: str) -> None:
    """And has sizes that a real one could have."""
    spec = hardware(name)
    first_s, end_s = took_s(spec, 1000, 20)

    assert 1e-3 < first_s < 1
    assert 1e-3 < (end_s - first_s) / 19 < 0.1
    assert spec.blocks * spec.block_tokens > 8000


def test_only_pods_that_mount_a_storage_have_one() -> None:
    """Its load rate is above that of computing the tokens anew."""
    for name, spec in HARDWARE.items():
        storage = shared_storage(name)

        assert (storage is not None) == spec.mounts_storage
        assert storage is None or storage.load_s_per_token < spec.rates.prefill_s_per_token


@pytest.mark.parametrize("workload", workload_names())
def test_the_fleets_of_all_workloads_are_there(workload: str) -> None:
    """By their published names."""
    assert hardware(load_workload(workload).fleet.hardware).blocks > 0


def test_unknown_hardware_is_refused_with_what_there_is() -> None:
    """The name in the message is cut to a bound."""
    with pytest.raises(InvalidField, match="qwen3-32b-2xh100") as refusal:
        hardware("x" * 10_000)

    assert refusal.value.field == "hardware"
    assert len(str(refusal.value)) < 1000
